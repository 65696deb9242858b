"""Ten lines: a picture and a sentence in, masks, an overlay and COCO out."""

import sys

import perception as pc

model = pc.load("nano")
result = model(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "red star. cat")
for label, score, box in zip(result.labels, result.scores, result.boxes, strict=True):
    print(f"{label} {score:.2f} at {box.round().tolist()}")
print(result.masks.shape, "masks;", len(result.to_coco()["annotations"]), "annotations")
result.overlay().save("overlay.png")
