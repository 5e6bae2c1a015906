"""The program of the fresh process: loads SavedModels as a client does, with TensorFlow and nothing else.

It is run as a file, by `fresh_process`, and takes requests `(command, arguments)` from a connection until that ends.
Keras, this package and its plugins can't be imported here: an export that needed one of them wouldn't load. Only where
an export needs custom operations, the modules that bring these are imported, with whatever they import themselves.
"""

import collections
import gc
import importlib
import multiprocessing.connection
import os
import select
import signal
import sys
import threading

FOREIGN = ("keras", "framework", "models", "pipelines", "keras_shipyard_models", "keras_shipyard_pipelines")
# Seconds without a request after which the process leaves; the next request starts another one.
_IDLE_SECS = 900.0
_SERVE = "serve"


class Loaded:
    """One SavedModel, by TensorFlow 2's loader and by the one of TensorFlow 1, which is TensorFlow Serving's too.

    Args:
        directory: The SavedModel.
    """

    def __init__(self, directory):
        self._tf = importlib.import_module("tensorflow")
        self._directory = directory
        # Kept whole: its functions don't keep its variables alive.
        self._loaded = self._tf.saved_model.load(directory)
        self._signatures = self._loaded.signatures
        self._graph = self._tf.Graph()
        with self._graph.as_default():
            self._session = self._tf.compat.v1.Session()
            self._meta = self._tf.compat.v1.saved_model.load(self._session, [_SERVE], directory)

    def describe(self):
        """What there is to check, as plain values."""
        return {
            "signatures": {name: self._describe(name) for name in self._signatures},
            "host_paths": host_paths(self._meta),
            "variables": self._variables(),
            "bytes": {
                os.path.relpath(os.path.join(parent, name), self._directory): os.path.getsize(
                    os.path.join(parent, name)
                )
                for parent, _, names in os.walk(self._directory)
                for name in names
            },
        }

    def _describe(self, name):
        signature = self._signatures[name]
        definition = self._meta.signature_def[name]
        return {
            "inputs": {key: _form(spec) for key, spec in signature.structured_input_signature[1].items()},
            "outputs": {key: _form(spec) for key, spec in signature.structured_outputs.items()},
            "method_name": definition.method_name,
            "operations": operations(self._meta, definition),
        }

    def _variables(self):
        reader = self._tf.train.load_checkpoint(os.path.join(self._directory, "variables", "variables"))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        return {name: (tuple(shape), dtypes[name].name) for name, shape in shapes.items()}

    def call(self, name, inputs):
        """What a signature answers, `{name: array}`."""
        signature = self._signatures[name]
        specs = signature.structured_input_signature[1]
        tensors = {key: self._tf.constant(value, specs[key].dtype) for key, value in inputs.items()}
        return {key: value.numpy() for key, value in signature(**tensors).items()}

    def call_session(self, name, inputs):
        """As `call`, through a session of TensorFlow 1."""
        definition = self._meta.signature_def[name]
        fed = {definition.inputs[key].name: value for key, value in inputs.items()}
        return self._session.run({key: value.name for key, value in definition.outputs.items()}, fed)

    def close(self):
        self._session.close()


def _form(spec):
    """(shape, dtype); the shape is `None` where even its rank isn't known."""
    return (None if spec.shape.rank is None else spec.shape.as_list()), spec.dtype.name


def operations(meta, definition):
    """`{operation: how often}` in all that a signature's outputs depend on, functions included."""
    functions = {function.signature.name: function.node_def for function in meta.graph_def.library.function}
    nodes = {node.name: node for node in meta.graph_def.node}
    counts = collections.Counter()
    waiting = [tensor.name.partition(":")[0] for tensor in definition.outputs.values()]
    called, seen = set(), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        counts[nodes[name].op] += 1
        called |= _called(nodes[name], functions)
        waiting += [source.lstrip("^").partition(":")[0] for source in nodes[name].input]
    entered = set()
    while called - entered:
        function = (called - entered).pop()
        entered.add(function)
        for node in functions[function]:
            counts[node.op] += 1
            called |= _called(node, functions)
    return dict(counts)


def _called(node, functions):
    """Names of the functions that a node refers to."""
    names = {node.op}
    for value in node.attr.values():
        names.add(value.func.name)
        names.update(function.name for function in value.list.func)
    return names & set(functions)


def host_paths(meta):
    """Absolute paths of things on this host that stand in the graph and aren't assets of the SavedModel."""
    assets = {asset.tensor_info.name.partition(":")[0] for asset in meta.asset_file_def}
    graph = [node for node in meta.graph_def.node if node.name not in assets]
    inner = [node for function in meta.graph_def.library.function for node in function.node_def]
    found = set()
    for node in [*graph, *inner]:
        texts = node.attr["value"].tensor.string_val if node.op == "Const" else ()
        # A list of texts is a vocabulary or class names; a path stands alone.
        if len(texts) == 1 and len(texts[0]) < 4096 and os.path.isabs(texts[0]) and os.path.exists(texts[0]):
            found.add(texts[0].decode(errors="replace"))
    return sorted(found)


class Requests:
    """What the process can be asked; one SavedModel is held at a time."""

    def __init__(self):
        self._loaded = None

    def begin(self, modules):
        """Imports TensorFlow, then modules with custom operations; returns TensorFlow's version."""
        if not modules:
            sys.modules.update(dict.fromkeys(FOREIGN))  # None: importing it fails
        tensorflow = importlib.import_module("tensorflow")
        for name in modules:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()  # TensorFlow's own objects needn't be looked at again
        return tensorflow.__version__

    def foreign(self):
        """Which of the modules that an export mustn't need are there."""
        return sorted(name for name in FOREIGN if sys.modules.get(name) is not None)

    def load(self, directory):
        self.unload()
        self._loaded = Loaded(directory)
        return self._loaded.describe()

    def call(self, name, inputs):
        return self._loaded.call(name, inputs)

    def call_session(self, name, inputs):
        return self._loaded.call_session(name, inputs)

    def unload(self):
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None
            gc.collect()  # a loaded SavedModel is full of reference cycles


def leave_with_parent(connection_number, parent):
    """Ends this process, whatever it is doing, as soon as its parent is gone.

    The connection's end tells it at once. A process that the parent forked would keep the connection open; the
    parent's number tells it then.
    """
    poll = select.poll()
    poll.register(connection_number, 0)  # errors and the other side's end alone
    while not poll.poll(1000) and os.getppid() == parent:
        pass
    os._exit(0)


def main(connection_number, parent):
    """Takes requests until the connection ends or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    # Before TensorFlow, whose import takes seconds.
    threading.Thread(target=leave_with_parent, args=(connection_number, parent), daemon=True).start()
    connection = multiprocessing.connection.Connection(connection_number)
    sys.path[:] = connection.recv()
    requests = Requests()
    while connection.poll(_IDLE_SECS):
        try:
            command, arguments = connection.recv()
        except EOFError:
            break
        try:
            answer = (True, getattr(requests, command)(*arguments))
        except Exception as error:
            answer = (False, f"{type(error).__name__}: {error}")
        connection.send(answer)
        del command, arguments, answer
    os._exit(0)  # TensorFlow's own end takes a while and does nothing for anybody


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
