"""`python -m platform`: the verbs, one line each."""

from platform.cli import console

VERBS = {
    "data": "import a published layout as a data folder, look at one, or simulate one",
    "features": "train an extractor on raw skeletons, write its features into a data folder; I3D features of videos",
    "train": "train a method and test it, over seeds",
    "tune": "search a method's hyperparameters, then test the best configuration",
    "compare": "tables of what was tested beside the papers', tests of significance, ablations, one HTML page",
    "evaluate": "test a trained model on a data folder",
    "few_shot": "let a trained model learn from a few samples of each unseen class, and test it on them",
    "check": "check a method of your own against the contract",
    "predict": "classify samples among class names that the model was never trained on",
}

console.print("Unseen: train, tune and compare zero-shot recognition methods.\n", highlight=False)
for verb, summary in VERBS.items():
    console.print(f"  python -m platform.{verb:<10} {summary}", highlight=False)
console.print("\nEach takes --help.", highlight=False)
