"""An untrained classifier of Fashion-MNIST."""

from __future__ import annotations

from actgen.classifiers.classifier import Classifier, create_classifier


def classifier(seed: int) -> Classifier:
    return create_classifier("actgen/small-cnn", 10, data_size=32, seed=seed)
