"""A process of its own: reads a network that somebody else saved, and makes a model bundle of it.

``python -m covid_cnn.training.imported STEP FOLDER`` does one step of `covid_cnn.evaluation.own_network`, which asks
for it in ``FOLDER/request.json``. The file may come from anywhere. What it says is looked through before anything is
built of it, nothing in it is run as code, and the system holds this process to its memory and time.
"""

import importlib
import json
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from covid_cnn.common.errors import BundleError, CovidCnnError

MAX_FILE_BYTES = 4 * 2**30  # unpacked
MAX_CLASSES = 50
TOLERANCES = {"probabilities": 1e-4, "heatmaps": 1e-3}  # that LiteRT may be off the network itself
MAX_STEPS = 64  # of a recurrent layer that are laid open, as many as 8 x 8 places have: more take minutes to convert
# What is or may be code in a network's configuration, and layers that read files.
CODE = re.compile(r"Lambda|OpLambda|TFSMLayer|TorchModule|JaxLayer|FlaxLayer|TextVectorization|Lookup", re.IGNORECASE)
FUNCTIONS = re.compile(r"(builtins|(tf_)?keras(\.src)?\.(activations|initializers|regularizers|constraints).*)?")
# Operations of a SavedModel that reach beyond it: files, Python, the network.
FORBIDDEN = re.compile(r"PyFunc|(Read|Write|Text)File|MatchingFiles|Reader|Dataset|Print|Rpc|Debug|Summary|Iterator")
AS_GRAPH = "save it as a graph, model.export('folder'), or model.save('folder') in Keras 2, and add that folder"


class OpenedNetwork(NamedTuple):
    """A network that was read: what answers to images, and what its file says of it.

    Attributes
    ----------
    call : from float32 ``[1, H, W, C]`` to its outputs
    shape : ``(H, W, C)``, None where the file leaves a side open
    outputs : their names
    kind : the format of the file, for people
    graph : the file, where it is a graph of LiteRT already
    """

    call: Callable[[Any], Any]
    shape: tuple[int | None, int | None, int]
    outputs: list[str]
    kind: str
    name: str
    graph: Path | None = None


def open_network(path: Path) -> OpenedNetwork:
    """Read a network from a file or folder; raises BundleError where it is none that can be read, or holds code."""
    try:
        return _open(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:  # of HDF5, JSON and Protocol Buffers
        raise BundleError(f"{path.name} is damaged ({' '.join(str(error).split())[:200]}): save it again.") from error


def _open(path: Path) -> OpenedNetwork:
    if path.is_dir():
        return _open_saved_model(path)
    with path.open("rb") as file:
        beginning = file.read(8)
    if beginning[4:8] == b"TFL3":
        from covid_cnn.training import lite_reader

        return OpenedNetwork(*lite_reader.read_lite(path), "LiteRT (.tflite)", path.stem, path)
    if zipfile.is_zipfile(path):
        return _open_keras_zip(path)
    if beginning == b"\x89HDF\r\n\x1a\n":
        return _open_hdf5(path)
    raise BundleError(
        f"{path.name} is no network that can be read: give a .keras, .h5 or .tflite file or the folder of a SavedModel."
    )


def _open_keras_zip(path: Path) -> OpenedNetwork:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_FILE_BYTES:
            raise BundleError(f"{path.name} unpacks to more than {MAX_FILE_BYTES // 2**30} GiB.")
        names = archive.namelist()
        if described := next((name for name in names if PurePosixPath(name).name == "saved_model.pb"), ""):
            unpacked = tempfile.TemporaryDirectory(prefix="covid-cnn-")
            archive.extractall(unpacked.name)  # which leaves nothing outside of it
            opened = _open_saved_model(Path(unpacked.name, described).parent)

            def call(image: Any, held: Any = unpacked) -> Any:  # its folder stays as long as what was read of it
                return opened.call(image)

            return opened._replace(call=call)
        if "config.json" not in names:
            raise BundleError(f"{path.name} is a .zip, but no .keras file: it has no config.json.")
        config = json.loads(archive.read("config.json"))
        about = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
    check_config(config)
    return _open_keras(path, str(about.get("keras_version", "3")), ".keras")


def _open_hdf5(path: Path) -> OpenedNetwork:
    import h5py

    with h5py.File(path) as file:
        text, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
    if text is None:
        raise BundleError(f"{path.name} holds weights without their network: save the whole, model.save('my.keras').")
    check_config(json.loads(text))
    return _open_keras(path, version.decode() if isinstance(version, bytes) else str(version), ".h5")


def check_config(config: Any) -> None:
    """Raise BundleError where the configuration of a network names code, or a layer that Keras does not have."""
    for entry in _entries(config):
        name, module = str(entry.get("class_name")), str(entry.get("module") or "")
        registered = str(entry.get("registered_name") or "")
        if name == "function":
            name = str(entry.get("config"))
            foreign = not FUNCTIONS.fullmatch(module)
        else:
            foreign = (
                not (module in ("", "builtins") or module.partition(".")[0] in ("keras", "tf_keras"))
                or ">" in registered
            )
        if CODE.search(name) or name in ("__lambda__", "function") or foreign:
            own = entry["config"].get("name") if isinstance(entry.get("config"), dict) else None
            raise BundleError(
                f"The layer {own or name} of this network is code of its own ({name}), which is not run here: "
                f"{AS_GRAPH}."
            )


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def _open_keras(path: Path, version: str, kind: str) -> OpenedNetwork:
    """Read a file by the Keras that wrote it: what the second and the third say differs in many layers."""
    import tensorflow as tf

    library = importlib.import_module("tf_keras" if version.startswith("2.") else "keras")
    try:
        model = library.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a layer raises at what it cannot make of its configuration
        reason = " ".join(str(error).split())[:200]
        raise BundleError(f"Keras cannot load {path.name} ({reason}): {AS_GRAPH}.") from error
    inputs = list(getattr(model, "inputs", None) or [])
    if len(inputs) != 1:
        inputs_of_file = ", ".join(f"{one.name} {list(one.shape[1:])}" for one in inputs) or "none that its file tells"
        raise BundleError(
            f"A network of one image can be added; this one takes {len(inputs)} inputs ({inputs_of_file})."
            if inputs
            else f"The network does not say what its input is: give it a keras.Input, or {AS_GRAPH}."
        )
    shape = tuple(inputs[0].shape[1:])
    _check_input(shape)
    kind += ask_in_float32(model)
    unroll(model)
    names = list(getattr(model, "output_names", []) or [])

    def call(image: Any) -> Any:
        return model(tf.cast(image, inputs[0].dtype), training=False)

    return OpenedNetwork(call, shape, names, f"Keras {version} ({kind})", model.name)


def ask_in_float32(model: Any) -> str:
    """Let a network that learned in half precision compute in float32, as LiteRT does; returns words that say so."""
    others = [layer for layer in model._flatten_layers() if layer.compute_dtype in ("float16", "bfloat16", "float64")]
    words = f" in {others[0].compute_dtype}, asked in float32" if others else ""
    for layer in others:
        if hasattr(layer, "_set_dtype_policy"):  # of Keras 2
            layer._set_dtype_policy("float32")
        else:
            layer.dtype_policy = "float32"
    return words


def unroll(model: Any) -> None:
    """Lay open the loops of recurrent layers, step after step: the gradient of a loop cannot be exported."""
    for layer in model._flatten_layers():
        if getattr(layer, "unroll", True) is False and 0 < _steps(layer) <= MAX_STEPS:
            layer.unroll = True
            layer._could_use_gpu_kernel = False  # of Keras 2, which would loop by another way


def _steps(layer: Any) -> int:
    """How many steps a recurrent layer takes; 0 where its file leaves them open."""
    built = layer.get_build_config() or {}
    shape: tuple[int | None, ...] = built.get("input_shape") or next(iter(built.get("shapes_dict", {}).values()), ())
    return (shape[1] if len(shape) > 1 else 0) or 0


def _check_input(shape: tuple[int | None, ...]) -> None:
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise BundleError(
            f"The input of this network is {list(shape)}, and one image of [height, width, 1 or 3] is needed."
        )


def _open_saved_model(path: Path) -> OpenedNetwork:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    described = path / "saved_model.pb"
    if not described.is_file():
        raise BundleError(f"There is no saved_model.pb in {path.name}: give the folder of a SavedModel.")
    meta = saved_model_pb2.SavedModel.FromString(described.read_bytes()).meta_graphs[0].graph_def
    nodes = [*meta.node, *(node for function in meta.library.function for node in function.node_def)]
    if reaching := sorted({node.op for node in nodes if FORBIDDEN.search(node.op)}):
        raise BundleError(f"This SavedModel would reach beyond itself ({', '.join(reaching)}), which is not run here.")
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get("serving_default") or loaded.signatures.get("serve")
    if signature is None:
        raise BundleError("This SavedModel has no signature serving_default: save it by model.export('folder').")
    takes = signature.structured_input_signature[1]
    if len(takes) != 1:
        raise BundleError(
            f"A network of one image can be added; this one takes {len(takes)} inputs ({', '.join(takes)})."
        )
    (key, spec), outputs = next(iter(takes.items())), sorted(signature.structured_outputs)
    shape = tuple(spec.shape.as_list()[1:]) if spec.shape.rank else ()
    _check_input(shape)

    def call(image: Any, held: Any = loaded) -> list[Any]:  # what holds the variables lives as long as what uses them
        outputs_by_name = signature(**{key: tf.cast(image, spec.dtype)})
        return [outputs_by_name[name] for name in outputs]

    return OpenedNetwork(call, shape, outputs, "SavedModel", path.name)


def read(folder: Path, request: dict[str, Any]) -> None:
    """Read a network and write what it is: ``facts.json``, ``probe.tflite``, which answers, and ``network.npz``."""
    opened = open_network(Path(request["file"]))
    from covid_cnn.models.plain_graph import PlainGraph
    from covid_cnn.training import frozen, lite_reader  # TensorFlow, of which a file that is refused needs none

    height, width = request.get("size") or opened.shape[:2]
    if not height or not width:
        raise BundleError("The file leaves the size of its images open: give it (--size 224).")
    shape, probe = (height, width, opened.shape[-1]), folder / "probe.tflite"
    facts: dict[str, Any] = {"black": [0.0], "white": [1.0], "last": "", "partial": False, "unexplained": ""}
    try:
        network = frozen.freeze(opened.call, shape)
        names = opened.outputs
        if len(names) != len(network.outputs):
            names = [f"output {n}" for n in range(len(network.outputs))]
        output = _choose_output(names, request.get("output"))
        anatomy = frozen.examine(network, output)
        probe.write_bytes(frozen.convert_answer(network, anatomy))
        network.save(folder / "network.npz")
        facts["black"], facts["white"] = frozen.own_scaling(network)
        facts |= {"anatomy": vars(anatomy), "last": anatomy.last, "partial": anatomy.partial, "probed": 0}
    except frozen.UnexplainedError as error:
        names, facts["unexplained"] = opened.outputs or ["output 0"], str(error)
        output = _choose_output(names, request.get("output"))
        if opened.graph:
            shutil.copyfile(opened.graph, probe)
        else:
            probe.write_bytes(frozen.convert_call(opened.call, shape, output))
        facts["probed"] = output if opened.graph else 0
    graph = PlainGraph(probe, output=facts["probed"])
    if not opened.graph:  # which was held against itself when it was read
        _check_answer(opened, graph, output)
    units = graph.units
    if units > MAX_CLASSES:
        raise BundleError(
            f"This network tells {units} classes apart, and at most {MAX_CLASSES} can be shown: give it a last "
            "layer for yours."
        )
    facts |= {
        "name": opened.name,
        "kind": opened.kind,
        "size": [height, width],
        "channels": shape[2],
        "outputs": names,
        "output": output,
        "units": units,
        "parameters": lite_reader.count_numbers(probe),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _check_answer(opened: OpenedNetwork, graph: Any, output: int) -> None:
    """Hold what will answer in a network's place against the network, on one image."""
    import numpy as np
    import tensorflow as tf

    image = np.random.default_rng(0).random(graph.shape, np.float32)
    own = np.ravel(tf.nest.flatten(opened.call(tf.constant(image[None])))[output])
    off = np.abs(graph.answer(image, np.float32(1), np.float32(0)) - own).max() / max(1.0, float(np.abs(own).max()))
    check_off(float(off))


def check_off(off: float) -> None:
    """Raise BundleError where what LiteRT answers is further off a network than it may be."""
    if not off <= TOLERANCES["probabilities"]:
        raise BundleError(
            f"LiteRT, in which all models here work, answers {off:.1g} off this network, and "
            f"{TOLERANCES['probabilities']:g} is the most: it cannot be added. Numbers that grow very large within it "
            "do this, as in a network that was not trained."
        )


def _choose_output(names: list[str], wanted: str | None) -> int:
    if wanted is None:
        return 0
    if wanted in names:
        return names.index(wanted)
    raise BundleError(f"This network has no output {wanted}: it has {', '.join(names)}.")


def limit(memory: int, seconds: int) -> None:
    """Let the system end this process beyond so many bytes, or seconds of the processor, all cores together."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; there the caller's patience is the only one
        return
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def _report_progress(part: float, message: str) -> None:
    print(json.dumps([part, message]), flush=True)


def main(step: str, folder: Path) -> None:
    """Do one step; what is wrong stands in ``FOLDER/error.txt``."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    limit(request["memory"], request["seconds"])
    try:
        if step == "read":
            read(folder, request)
        else:
            from covid_cnn.training import own_bundle

            own_bundle.make(folder, request, _report_progress)
    except (CovidCnnError, MemoryError) as error:
        short = isinstance(error, MemoryError)
        reason = "This network needs more memory than it is given here." if short else str(error)
        (folder / "error.txt").write_text(reason, encoding="utf-8")
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
