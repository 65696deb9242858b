"""Pictures drawn for training and measuring; masks, boxes and phrases exact by construction."""
