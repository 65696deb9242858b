"""What the page keeps of an image: marks, steps, merging two hands, saving, asking."""

from __future__ import annotations

import numpy as np
from click_page import run_node

MARK = """
const mark = (uid, name = "cat", counts = "06", origin = "model") => ({
  uid, class: name, origin, rle: { size: [2, 3], counts }, score: 0.9, quality: 0.8, stability: 0.7,
});
const uids = (marks) => marks.map(({ uid }) => uid).join("");
"""


def test_steps_go_back_and_forth() -> None:
    assert run_node(
        """
        const { amended, begun, redone, stepped, undone } = await load("history.js");
        let all = ["b", "c", "d"].reduce(stepped, begun("a"));
        const seen = [all.present];
        const tried = (next) => { all = next; seen.push(all.present); };
        tried(undone(all)); tried(undone(all)); tried(redone(all));
        tried(stepped(all, "e")); tried(redone(all)); tried(undone(all));
        tried(amended(all, (state) => state + "!")); tried(redone(all));
        for (let n = 0; n < 9; n += 1) all = undone(all);
        return [...seen, all.present, stepped(all, all.present) === all];
        """
    ) == ["d", "c", "b", "c", "e", "e", "c", "c!", "e!", "a!", True]


def test_a_hand_leaves_its_trace_on_marks() -> None:
    answer = run_node(
        MARK
        + """
        const { markAt, withClass, withFound, withMask, without } = await load("marks.js");
        const { encodeRle } = await load("rle.js");
        const size = [2, 3];
        const rle = (bounds) => ({ size, counts: encodeRle(Uint32Array.from(bounds), size) });
        const all = [{ ...mark("a"), rle: rle([0, 6]) }, { ...mark("b", "dog"), rle: rle([2, 4]) }];
        const hand = [{ ...mark("c"), origin: "hand", score: null }];
        const found = [mark("x"), mark("y", "dog")].map((one) => ({ ...one, rle: rle([0, 5]) }));
        return {
          mask: withMask(all, "a", rle([0, 1]), 0.5)[0],
          renamed: withClass(all, "b", "cat")[1],
          hand: withClass(hand, "c", "dog")[0].origin,
          left: uids(without(all, "a")), found: uids(withFound(all, found)),
          at: [[1.5, 0.5], [0.5, 0.5], [9, 9]].map((place) => markAt(all, place)?.uid ?? null),
          before: all[0].origin,
        };
        """
    )
    assert answer["mask"] | {"rle": 0} == {
        "uid": "a", "class": "cat", "origin": "corrected", "rle": 0,
        "score": 0.9, "quality": 0.5, "stability": None,
    }  # fmt: skip
    assert (answer["renamed"]["class"], answer["renamed"]["origin"]) == ("cat", "corrected")
    assert answer["renamed"]["score"] is None
    assert (answer["hand"], answer["before"]) == ("hand", "model")
    assert (answer["left"], answer["found"]) == ("b", "aby")
    assert answer["at"] == ["b", "a", None]


def test_two_hands_lose_nothing() -> None:
    answer = run_node(
        MARK
        + """
        const { merged } = await load("merging.js");
        const [a, b, c] = ["a", "b", "c"].map((uid) => mark(uid));
        const mine = { ...b, class: "dog" };
        const theirs = { ...b, class: "cow" };
        const texts = (marks) => marks.map((one) => one.uid.slice(0, 1) + one.class).join(" ");
        return {
          new: texts(merged([a], [a, b], [a, c])),
          deleted: texts(merged([a, b], [a], [a, b, c])),
          theyDeleted: texts(merged([a, b], [a, b], [a])),
          iChanged: texts(merged([a, b], [a, mine], [a])),
          theyChanged: texts(merged([a, b], [a], [a, theirs])),
          both: merged([b], [mine], [theirs]).map((one) => [one.uid === "b", one.class]),
          same: texts(merged([b], [mine], [mine])),
        };
        """
    )
    assert answer.pop("both") == [[True, "cow"], [False, "dog"]]
    assert answer == {
        "new": "acat ccat bcat",
        "deleted": "acat ccat",
        "theyDeleted": "acat",
        "iChanged": "acat bdog",
        "theyChanged": "acat bcow",
        "same": "bdog",
    }


def test_a_late_answer_finds_its_question() -> None:
    answer = run_node(
        MARK
        + """
        const { answered, accepted, draftIn, ...scenes } = await load("scene.js");
        const { reclassed, sceneOf, unanswered } = scenes;
        const { promptOf, withPoint, nextCandidate } = await load("draft.js");
        const bounds = Uint32Array.of(0, 4);
        const reply = { id: 7, quality: [0.1, 0.2, 0.3, 0.4], candidate: 3, ambiguous: true };
        const asked = { ...sceneOf([]), draft: withPoint(draftIn(sceneOf([])), [1, 1], 1, 5) };
        const done = answered(asked, 5, reply, bounds);
        const next = withPoint(done.draft, [2, 1], 0, 6);
        const of = draftIn({ ...sceneOf([mark("a")]), selected: "a" });
        const made = accepted(done, "cat", [2, 3]);
        return {
          other: answered(asked, 4, reply, bounds) === asked,
          twice: answered(done, 5, reply, bounds) === done,
          failed: unanswered(asked, 5).draft.pending,
          first: asked.draft.earlier, earlier: next.earlier,
          waits: withPoint(next, [0, 0], 1, 7).earlier,
          corrects: [of.of, "bounds" in withPoint(of, [9, 1], 1, 8).earlier],
          box: [promptOf(of).box, promptOf(withPoint(of, [9, 1], 1, 8)).box],
          pending: accepted(asked, "cat", [2, 3]) === asked,
          made: [made.marks[0].quality, made.marks[0].origin, made.marks[0].uid.length, made.draft],
          cycle: [0, 1, 2].map((n) => nextCandidate({ candidate: n, quality: [1, 1, 1] }, 1)),
          back: [0, 1, 2].map((n) => nextCandidate({ candidate: n, quality: [1, 1, 1] }, -1)),
          same: reclassed(made, "dog") === made,
        };
        """
    )
    assert answer == {
        "other": True,
        "twice": True,
        "failed": False,
        "first": None,
        "earlier": {"answer": 7, "candidate": 3},
        "waits": {"answer": 7, "candidate": 3},
        "corrects": ["a", True],
        "box": [[0, 0, 3, 2], [0, 0, 9, 2]],
        "pending": True,
        "made": [0.4, "hand", 32, None],
        "cycle": [1, 2, 0],
        "back": [2, 0, 1],
        "same": True,
    }


EDITOR = (
    MARK
    + """
const { Editor } = await load("editor.js");
const asked = [];
const answers = [];
const decoding = { decode: (prompt, earlier) => {
  asked.push({ prompt, earlier });
  return new Promise((resolve, reject) => answers.push({ resolve, reject }));
} };
const editor = new Editor({ decoding, changed: () => {}, failed: () => {} });
const answer = async (n, bounds) => {
  answers[n].resolve({ answer: n, quality: [0.1, 0.2, 0.9, 0.4], candidate: 2, ambiguous: true,
    bounds: Uint32Array.from(bounds), times: {} });
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
};
const leave = (name) => {
  const isUnfinished = editor.leave(name, `${name}!`);
  editor.load([1, 1], []);
  return isUnfinished;
};
const size = [2, 3];
"""
)


def test_an_unfinished_mask_waits_with_its_undo() -> None:
    answer = run_node(
        EDITOR
        + """
        editor.load(size, [mark("a")], "x!");
        editor.pick("a");
        editor.setClass("dog");
        const marks = editor.scene.marks;
        editor.pick(null);
        editor.addPoint([1, 1], 1);
        await answer(0, [1, 3]);
        const left = [leave("x"), editor.unfinished, editor.canUndo];
        editor.load(size, [mark("y")], "y!");
        const away = [editor.scene.draft, leave("y")];
        editor.load(size, marks, "x!");
        const { draft } = editor.scene;
        editor.addPoint([2, 1], 0);
        const fedBack = asked[1].earlier;
        await answer(1, [1, 2]);
        editor.accept("cat");
        const accepted = editor.scene.marks.length;
        const undone = [];
        while (editor.canUndo) {
          editor.undo();
          const { marks: here, draft: draft } = editor.scene;
          undone.push([here.map((one) => one.class).join(), draft?.points.length ?? 0]);
        }
        return { left, away, draft: [[...draft.bounds], draft.points, draft.answer.quality[2],
          draft.answer.ambiguous], fedBack: [...fedBack.bounds], accepted, undone,
          unfinished: editor.unfinished };
        """
    )
    assert answer == {
        "left": [True, ["x"], False],
        "away": [None, False],
        "draft": [[1, 3], [[1, 1]], 0.9, False],
        "fedBack": [1, 3],  # The worker keeps no answers of an image that was left.
        "accepted": 2,
        "undone": [["dog", 2], ["dog", 1], ["dog", 0], ["cat", 0]],
        "unfinished": [],
    }


def test_a_click_without_its_answer_is_asked_again_on_return() -> None:
    answer = run_node(
        EDITOR
        + """
        editor.load(size, [], "x!");
        editor.addBox([0, 0, 2, 2]);
        const left = leave("x");
        answers[0].reject(Object.assign(new Error("no"), { aborted: true }));
        for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
        editor.load(size, [], "x!");
        const { pending } = editor.scene.draft;
        await answer(1, [0, 4]);
        const { draft } = editor.scene;
        editor.undo();
        return [left, asked.map(({ prompt }) => prompt.box), pending, draft.pending,
          [...draft.bounds], editor.scene.draft];
        """
    )
    assert answer == [True, [[0, 0, 2, 2]] * 2, True, False, [0, 4], None]


def test_a_picture_that_changed_meanwhile_is_taken_as_it_is() -> None:
    answer = run_node(
        EDITOR
        + """
        const far = (marks, work) => {
          editor.load(size, [mark("a")], "x!");
          work();
          leave("x");
          editor.load(size, marks, "x!");
          const { scene } = editor;
          return [uids(scene.marks), scene.draft?.of ?? null, editor.canUndo];
        };
        const covered = Uint32Array.of(0, 2);
        const correct = () => { editor.pick("a"); editor.addStroke(covered, false); };
        const other = far([mark("b")], correct);
        const same = far([mark("a"), mark("b")], correct);
        editor.load(size, [], "another content");
        return { other, same, another: [editor.scene.draft, editor.canUndo] };
        """
    )
    assert answer == {
        "other": ["b", None, True],
        "same": ["ab", "a", True],
        "another": [None, False],
    }


def test_few_pictures_that_were_left_are_kept_and_no_unfinished_one_is_dropped() -> None:
    assert run_node(
        EDITOR
        + """
        for (let n = 0; n < 60; n += 1) {
          editor.load(size, [mark("a")], `${n}!`);
          editor.pick("a");
          if (n % 20 === 0) editor.addStroke(Uint32Array.of(0, 2), false);
          else for (let step = 0; step < 300; step += 1) editor.setClass(`c${step % 2}`);
          leave(String(n));
        }
        const { unfinished } = editor;
        const kept = [];
        for (let n = 0; n < 60; n += 1) {
          const last = mark("a", "c1", "06", "corrected");
          editor.load(size, [n % 20 ? { ...last, score: null } : mark("a")], `${n}!`);
          if (!editor.canUndo) continue;
          let steps = 0;
          for (; editor.canUndo; steps += 1) editor.undo();
          kept.push([n, steps]);
        }
        return [unfinished, kept];
        """
    ) == [
        ["0", "20", "40"],
        [
            [0, 1],
            [20, 1],
            *([n, 1 if n == 40 else 100] for n in range(40, 60) if n != 41 and n != 42),
        ],
    ]


def test_a_long_list_is_fetched_where_somebody_looks() -> None:
    answer = run_node(
        """
        const { SparseList } = await load("sparse_list.js");
        const asked = [];
        let [changes, failures, isDown] = [0, 0, false];
        const list = new SparseList({
          fetch: async (offset, limit) => {
            asked.push(offset);
            if (isDown) throw new Error("no");
            const length = Math.max(0, Math.min(limit, 12345 - offset));
            return { rows: Array.from({ length }, (_, n) => offset + n), total: 12345 };
          },
          changed: () => (changes += 1), failed: () => (failures += 1),
        });
        const first = await list.get(0);
        const gap = list.slice(195, 203);
        list.slice(195, 203);
        await list.get(201);
        const filled = list.slice(195, 203);
        const beyond = [await list.get(12344), (await list.get(12345)) ?? null];
        const small = [...asked];
        for (let at = 0; at < 12345; at += 100) await list.get(at);
        const kept = list.loaded().length;
        const late = [list.indexOf((row) => row === 12344), list.indexOf((row) => row === 0)];
        isDown = true;
        list.slice(0, 5);
        await new Promise((resolve) => setTimeout(resolve));
        isDown = false;
        const again = await list.get(3);
        return { first, total: list.total, gap: gap.map((one) => one ?? null), filled, beyond,
          small, kept, late, failures, again };
        """
    )
    assert answer["small"] == [0, 100, 200, 12300]
    assert (answer["first"], answer["total"]) == (0, 12345)
    assert answer["gap"] == [None] * 8
    assert answer["filled"] == list(range(195, 203))
    assert answer["beyond"] == [12344, None]
    assert answer["kept"] <= 50 * 100
    assert answer["late"] == [12344, -1]
    assert (answer["failures"], answer["again"]) == (1, 3)


def test_numbers_in_words() -> None:
    assert run_node(
        """
        const { counted } = await load("status.js");
        return [0, 1, 2].map((count) => counted(count, "mark"));
        """
    ) == ["0 marks", "1 mark", "2 marks"]


SAVING = (
    MARK
    + """
const { mock } = await import("node:test");
mock.timers.enable({ apis: ["setTimeout"] });
const { Saving } = await load("saving.js");
const { Unsaved } = await load("unsaved.js");
const said = [];
const puts = [];
const replies = [];
const storage = {};
const plain = { enumerable: false };
Object.defineProperties(storage, {
  getItem: { ...plain, value: (key) => storage[key] ?? null },
  setItem: { ...plain, value: (key, text) => { storage[key] = text; } },
  removeItem: { ...plain, value: (key) => { delete storage[key]; } },
});
const start = () => new Saving({
  put: async (name, body) => {
    puts.push([name, body.revision, uids(body.marks)]);
    const reply = replies.shift() ?? { revision: body.revision + 1 };
    if (reply.status !== undefined) throw Object.assign(new Error("no"), reply);
    return reply;
  },
  get: async (name) => ({ name, uid: `${name}!`, revision: 3, marks: [] }),
  unsaved: new Unsaved(storage, "here"), tab: "t", onStatus: ({ state }) => said.push(state),
});
const turn = async (ms) => {
  mock.timers.tick(ms);
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
};
const [a, b, c] = ["a", "b", "c"].map((uid) => mark(uid));
const saving = start();
"""
)


def test_changes_are_saved_a_moment_later_and_once() -> None:
    answer = run_node(
        SAVING
        + """
        saving.open({ name: "x", uid: "x!", revision: 3, marks: [] });
        saving.changed("x", [a]);
        await turn(300);
        saving.changed("x", [a, b]);
        await turn(699);
        const early = puts.length;
        const kept = Object.keys(storage).length;
        await turn(1);
        return { early, kept, puts, said, left: Object.keys(storage).length };
        """
    )
    assert answer == {
        "early": 0,
        "kept": 1,
        "puts": [["x", 3, "ab"]],
        "said": ["saved", "waiting", "waiting", "saved"],
        "left": 0,
    }


def test_what_fails_is_tried_again_and_outlives_the_page() -> None:
    answer = run_node(
        SAVING
        + """
        replies.push({ status: 0 }, { status: 0 });
        saving.open({ name: "x", uid: "x!", revision: 3, marks: [] });
        saving.changed("x", [a]);
        await turn(700); await turn(3000);
        const state = said.at(-1);
        const again = start();
        const other = uids(start().open({ name: "x", uid: "another", revision: 3, marks: [] }));
        await again.recover();
        const marks = uids(again.open({ name: "x", uid: "x!", revision: 3, marks: [] }));
        await turn(700);
        return { state, other, marks, puts, last: said.at(-1), left: Object.keys(storage).length };
        """
    )
    assert answer == {
        "state": "failed",
        "other": "",
        "marks": "a",
        "puts": [["x", 3, "a"]] * 3,
        "last": "saved",
        "left": 0,
    }


def test_another_tab_is_never_overwritten() -> None:
    answer = run_node(
        SAVING
        + """
        const theirs = { status: 409, body: { revision: 9, marks: [a, c] } };
        const seen = {};
        for (const how of ["both", "theirs"]) {
          replies.push(theirs);
          saving.open({ name: how, uid: how, revision: 3, marks: [a] });
          saving.changed(how, [a, b]);
          await turn(700);
          const conflict = said.at(-1);
          await saving.flush();
          seen[how] = [conflict, uids(saving.resolve(how, how))];
          await turn(700);
          seen[how].push(said.at(-1), saving.hasUnsaved);
        }
        replies.push({ status: 409, body: { revision: 5, marks: [a] } });
        saving.open({ name: "same", revision: 3, marks: [] });
        saving.changed("same", [a]);
        await turn(700);
        return { seen, same: said.at(-1), puts };
        """
    )
    assert answer["seen"] == {
        "both": ["conflict", "acb", "saved", False],
        "theirs": ["conflict", "ac", "saved", False],
    }
    assert answer["same"] == "saved"
    assert answer["puts"] == [
        ["both", 3, "ab"],
        ["both", 9, "acb"],
        ["theirs", 3, "ab"],
        ["same", 3, "a"],
    ]


def test_an_answer_from_before_the_last_save_is_out_of_date() -> None:
    answer = run_node(
        SAVING
        + """
        const old = { name: "x", uid: "x!", revision: 3, marks: [] };
        saving.open(old);
        saving.changed("x", [a]);
        const unsaved = uids(saving.open(old));
        await turn(700);
        const saved = uids(saving.open(old));
        const newer = uids(saving.open({ ...old, revision: 9, marks: [a, b] }));
        const again = start();
        storage["perception:unsaved:here:y"] = JSON.stringify(
          { uid: "y", base: [], revision: 3, marks: [a] });
        again.open({ name: "y", uid: "y", revision: 4, marks: [a] });
        return { unsaved, saved, newer, last: said.at(-1), puts: puts.length };
        """
    )
    assert answer == {"unsaved": "a", "saved": "a", "newer": "ab", "last": "saved", "puts": 1}


def test_of_previews_the_newest_wins() -> None:
    answer = run_node(
        """
        const { createDecoding } = await load("decoding.js");
        const asked = [];
        const worker = new EventTarget();
        worker.postMessage = (message) => asked.push(message);
        const reply = async () => {
          const message = new Event("message");
          message.data = { id: asked.at(-1).id, bounds: asked.at(-1).prompt };
          worker.dispatchEvent(message);
          for (let n = 0; n < 9; n += 1) await Promise.resolve();
        };
        const decoding = createDecoding(worker);
        const shown = [];
        for (const n of [1, 2, 3, 4]) decoding.preview(n, ({ bounds }) => shown.push(bounds));
        await reply(); await reply();
        decoding.preview(5, () => {});
        decoding.preview(6, () => {});
        decoding.dropPreview();
        await reply();
        return { asked: asked.map(({ prompt }) => prompt), shown };
        """
    )
    assert answer == {"asked": [1, 4, 5], "shown": [1, 4]}


def test_an_earlier_mask_travels_as_numpys_halves() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate(
        (
            rng.normal(size=500) * 10.0 ** rng.integers(-8, 5, 500),
            np.float16([0, -0.0, 6e-8, 6.1e-5, 65504]).astype(np.float64),
            [2049.0, 2051.0, 1e9, -1e9, 3e-8, 6.0e-5],
        )
    ).astype(np.float32)
    bits = run_node(
        """
        const { floatsToHalves } = await load("halves.js");
        return [...floatsToHalves(Float32Array.from(data))];
        """,
        values.tolist(),
    )
    wanted = values.clip(-65504, 65504).astype(np.float16)
    np.testing.assert_array_equal(np.uint16(bits).view(np.float16), wanted)


def test_the_view_keeps_what_is_under_the_pointer() -> None:
    answer = run_node(
        """
        const { fitted, moved, toPicture, toStage, zoomed } = await load("view.js");
        const stage = { width: 800, height: 600 };
        const fit = fitted([1000, 500], stage, { left: 40, top: 0 });
        const at = [123, 456];
        const near = zoomed(fit, 3, at, fit);
        const gone = moved(fit, [-9999, 9999], [1000, 500], stage);
        return {
          same: [toPicture(fit, at), toPicture(near, at)], back: toStage(near, toPicture(near, at)),
          whole: [toStage(fit, [0, 0]), toStage(fit, [500, 1000])],
          below: toStage(fitted([1000, 500], stage, { left: 0, top: 70 }), [0, 0]),
          most: zoomed(fit, 1e9, at, fit).scale, least: zoomed(fit, 1e-9, at, fit).scale > 0,
          seen: [gone.x + 500 * gone.scale, gone.y],
        };
        """
    )
    np.testing.assert_allclose(*answer["same"])
    np.testing.assert_allclose(answer["back"], [123, 456])
    (left, top), (right, bottom) = answer["whole"]
    assert 40 < left < right < 800
    assert 0 < top < bottom < 600
    assert answer["below"][1] > 70
    assert (answer["most"], answer["least"]) == (40, True)
    assert answer["seen"] == [40, 560]


def test_keys_mean_one_thing() -> None:
    answer = run_node(
        """
        const { bindingOf, GROUPS } = await load("keys.js");
        const meant = (key, more = {}, isTyping = false) =>
          bindingOf({ key, shiftKey: false, ...more }, isTyping)?.action ?? null;
        const seen = GROUPS.flatMap(({ bindings }) => bindings).flatMap(
          ({ keys, ...held }) => keys.map((key) => [key, held.withControl, held.withShift].join()));
        return [
          meant("z", { ctrlKey: true }), meant("Z", { ctrlKey: true, shiftKey: true }),
          meant("z", { metaKey: true }), meant("z"), meant("?", { shiftKey: true }), meant("N"),
          meant("n", {}, true), meant("s", { ctrlKey: true }, true), meant("5"),
          seen.length - new Set(seen).size,
        ];
        """
    )
    assert answer == ["undo", "redo", "undo", None, "help", "turn", None, "save", "class", 0]
