#!/usr/bin/env python3
"""The commands `observe` and `switch` of rollbackd's `exec` control plane, for TensorFlow Serving, over the server's own gRPC.

    switch.py --endpoint HOST:PORT --list FILE

One line of JSON on standard input says what to do (src/adapters/control-planes/exec/README.md has the contract). HOST may have several
addresses (a headless Service): every one is told and confirmed. FILE is the server's --model_config_file, a ModelServerConfig in text format that
names ALL models of the server: TensorFlow Serving has no call to change one model, and none to read its list.

Needs grpcio and protobuf (requirements.txt), not tensorflow: the few messages are described below.

Exit codes: 0 done · 10 was there already · 11 what serves has changed · 64 bad input · 69 the version does not load, what served serves on ·
70 final, the server refused it · 75 not done, try again · 77 not allowed · 78 the list is not the truth. Never 1, which is kubectl's own.
"""
import argparse
import fcntl
import json
import socket
import sys
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

DONE, ALREADY, CONFLICT, BAD_INPUT, DOES_NOT_LOAD, FINAL, TRY_AGAIN, NOT_ALLOWED, BAD_LIST = 0, 10, 11, 64, 69, 70, 75, 77, 78
# Of gRPC and of StatusProto alike: UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, UNAVAILABLE. Safe to repeat: each run looks first.
TRANSIENT_CODES = {2, 4, 8, 10, 14}
# PERMISSION_DENIED, UNAUTHENTICATED.
AUTH_CODES = {7, 16}
NOT_FOUND = 5

STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
LOOK_SECONDS = 0.1
CALL_SECONDS = 3
RELOAD_SECONDS = 15
OBSERVE_SECONDS = 8


class Stop(Exception):
    """Ends the program with an exit code of the contract and a sentence for people."""

    def __init__(self, code, words):
        super().__init__(words)
        self.code = code


# ---- messages

# Field: (name, type, number); of tensorflow_serving/apis and tensorflow_serving/config, as much of them as is used. A field of the list that is not
# here is refused, never dropped. Enums travel as int32 does, a map as its entries.
MESSAGES = {
    "Int64Value": [("value", "int64", 1)],
    "ModelSpec": [("name", "string", 1), ("version", "Int64Value", 2)],
    "StatusProto": [("error_code", "int32", 1), ("error_message", "string", 2)],
    "GetModelStatusRequest": [("model_spec", "ModelSpec", 1)],
    "ModelVersionStatus": [("version", "int64", 1), ("state", "int32", 2), ("status", "StatusProto", 3)],
    "GetModelStatusResponse": [("model_version_status", "repeated ModelVersionStatus", 1)],
    "GetModelMetadataRequest": [("model_spec", "ModelSpec", 1), ("metadata_field", "repeated string", 2)],
    "GetModelMetadataResponse": [("model_spec", "ModelSpec", 1)],
    "Latest": [("num_versions", "uint32", 1)],
    "All": [],
    "Specific": [("versions", "repeated int64", 1)],
    "ServableVersionPolicy": [("latest", "Latest", 100), ("all", "All", 101), ("specific", "Specific", 102)],
    "LabelEntry": [("key", "string", 1), ("value", "int64", 2)],
    "ModelConfig": [
        ("name", "string", 1),
        ("base_path", "string", 2),
        ("model_platform", "string", 4),
        ("model_version_policy", "ServableVersionPolicy", 7),
        ("version_labels", "repeated LabelEntry", 8),
    ],
    "ModelConfigList": [("config", "repeated ModelConfig", 1)],
    "ModelServerConfig": [("model_config_list", "ModelConfigList", 1)],
    "ReloadConfigRequest": [("config", "ModelServerConfig", 1)],
    "ReloadConfigResponse": [("status", "StatusProto", 1)],
}
# Only one of their fields may be set.
CHOICES = {"ServableVersionPolicy": "policy_choice"}


def describe_messages():
    field_type = descriptor_pb2.FieldDescriptorProto
    scalars = {"string": field_type.TYPE_STRING, "int64": field_type.TYPE_INT64, "int32": field_type.TYPE_INT32, "uint32": field_type.TYPE_UINT32}
    file = descriptor_pb2.FileDescriptorProto(name="switch.proto", package="tensorflow.serving", syntax="proto3")
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        if message_name in CHOICES:
            message.oneof_decl.add(name=CHOICES[message_name])
        for name, kind, number in fields:
            is_repeated = kind.startswith("repeated ")
            kind = kind.replace("repeated ", "")
            field = message.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if is_repeated else field_type.LABEL_OPTIONAL
            field.type = scalars.get(kind, field_type.TYPE_MESSAGE)
            if kind not in scalars:
                field.type_name = ".tensorflow.serving." + kind
            if message_name in CHOICES:
                field.oneof_index = 0
    # A pool of its own: no clash with tensorflow-serving-api where that is installed, too.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving." + name)) for name in MESSAGES}


M = describe_messages()


# ---- the list of models


def read_list(path, file):
    """The file's models by name. Stops where sending them back would lose something, or hold up the server."""
    config = M["ModelServerConfig"]()
    try:
        text_format.Parse(file.read(), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise Stop(BAD_LIST, f"{path}:{error}; expected a ModelServerConfig with name, base_path, model_platform and model_version_policy of each model") from None
    models = {}
    for entry in config.model_config_list.config:
        where = f"{path}: model {entry.name or '(without a name)'}"
        if entry.name == "" or entry.base_path == "" or entry.model_platform == "":
            raise Stop(BAD_LIST, f"{where}: expected name, base_path and model_platform; TensorFlow Serving refuses a list without one of them")
        if entry.name in models:
            raise Stop(BAD_LIST, f"{where} stands there twice")
        if len(entry.version_labels) > 0:
            raise Stop(BAD_LIST, f"{where} has version_labels, which this script does not move; use the control plane tensorflow_serving")
        models[entry.name] = entry
    if not models:
        raise Stop(BAD_LIST, f"{path} names no model")
    return models


def with_versions(models, name, versions):
    """The list with `specific` versions of one model; `None`: as the file has it."""
    config = M["ModelServerConfig"]()
    for entry in models.values():
        copy = config.model_config_list.config.add()
        copy.CopyFrom(entry)
        if entry.name == name and versions is not None:
            copy.model_version_policy.Clear()
            copy.model_version_policy.specific.versions.extend(sorted(versions))
    return config


def judge(entry, look):
    """Whether a server looks as the list says. ("matches" | "moving" | "differs", words)"""
    policy = entry.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    available, coming, failed = look.in_state("AVAILABLE"), look.in_state("START", "LOADING"), look.failed()
    if choice == "specific":
        wanted = set(policy.specific.versions)
        says = "the list says " + spell(wanted)
        if coming - wanted:
            return "differs", f"{says}, but {spell(coming - wanted)} is loading"
        if coming:
            return "moving", f"{spell(coming)} is loading"
        if wanted - available - failed:
            return "differs", f"{says}, but {spell(wanted - available - failed)} is not loaded"
        if available - wanted:
            return "differs", f"{says}, but {spell(available - wanted)} is loaded, too"
        return "matches", says
    limit = {"latest": max(policy.latest.num_versions, 1), "all": None, None: 1}[choice]
    says = "the list says all versions" if limit is None else f"the list says the latest {limit}"
    if coming:
        return "moving", f"{spell(coming)} is loading"
    if not available:
        return ("matches", says) if failed else ("differs", f"{says}, but none is loaded")
    if limit is not None and len(available) > limit and not failed:
        return "differs", f"{says}, but {spell(available)} are loaded"
    dropped = {version for version in look.unloaded() if version > max(available)}
    if dropped:
        return "differs", f"{says}, but {spell(dropped)} was unloaded while {max(available)} is served (was its folder deleted? then restart the server)"
    return "matches", says


def spell(versions):
    return ", ".join(str(version) for version in sorted(versions)) or "nothing"


# ---- one server


class Look:
    """What one server says of one model: version → (state, error code, error message), and the version that clients get who name none."""

    def __init__(self, states, serving):
        self.states = states
        self.serving = serving

    def in_state(self, *names):
        return {version for version, (state, _, _) in self.states.items() if state in names}

    def failed(self):
        return {version for version, (state, code, _) in self.states.items() if state == "END" and code != 0}

    def unloaded(self):
        return {version for version, (state, code, _) in self.states.items() if state == "UNLOADING" or (state == "END" and code == 0)}

    def serves_alone(self, version):
        return self.serving == version and self.in_state("START", "LOADING", "AVAILABLE") == {version}

    def words(self):
        return f"{self.serving} of {spell(self.in_state('AVAILABLE'))}"


class Server:
    def __init__(self, address, deadline):
        self.address = address
        self.deadline = deadline
        # Never by way of a proxy that the environment names.
        self.channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])

    def call(self, method, request, response, seconds):
        rpc = self.channel.unary_unary(
            "/tensorflow.serving." + method, request_serializer=type(request).SerializeToString, response_deserializer=M[response].FromString
        )
        return rpc(request, timeout=max(0.001, min(seconds, self.deadline - time.monotonic())))

    def stop(self, what, code, message):
        name = next((status.name for status in grpc.StatusCode if status.value[0] == code), str(code))
        exit_code = TRY_AGAIN if code in TRANSIENT_CODES else NOT_ALLOWED if code in AUTH_CODES else FINAL
        return Stop(exit_code, f"{what} on {self.address}: {name}: {message}")

    def look(self, model):
        """`None`: the server has never heard of the model."""
        request = M["GetModelStatusRequest"]()
        request.model_spec.name = model
        try:
            answer = self.call("ModelService/GetModelStatus", request, "GetModelStatusResponse", CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code().value[0] == NOT_FOUND:
                return None
            raise self.stop(f"status of {model}", error.code().value[0], error.details()) from None
        states = {each.version: (STATES.get(each.state, str(each.state)), each.status.error_code, each.status.error_message) for each in answer.model_version_status}
        return Look(states, self.serving(model))

    def serving(self, model):
        """The version that answers clients who name none; `None` when nothing is loaded. Not counted by the server as a request."""
        request = M["GetModelMetadataRequest"](metadata_field=["signature_def"])
        request.model_spec.name = model
        try:
            answer = self.call("PredictionService/GetModelMetadata", request, "GetModelMetadataResponse", CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code().value[0] == NOT_FOUND:
                return None
            raise self.stop(f"metadata of {model}", error.code().value[0], error.details()) from None
        return answer.model_spec.version.value

    def reload(self, config):
        try:
            answer = self.call("ModelService/HandleReloadConfigRequest", M["ReloadConfigRequest"](config=config), "ReloadConfigResponse", RELOAD_SECONDS)
        except grpc.RpcError as error:
            raise self.stop("the new list", error.code().value[0], error.details()) from None
        if answer.status.error_code != 0:
            raise self.stop("the new list", answer.status.error_code, answer.status.error_message)


def connect(endpoints, deadline):
    addresses = []
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        if host == "" or not port.isdigit():
            raise Stop(BAD_INPUT, f"--endpoint {endpoint}: expected HOST:PORT, as in tfs:8500")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise Stop(TRY_AGAIN, f"--endpoint {endpoint}: {error.strerror}") from None
        for address in sorted({info[4][0] for info in found}):
            addresses.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return [Server(address, deadline) for address in dict.fromkeys(addresses)]


# ---- the two commands


def look_at(servers, models, name):
    """Each server with its look at the model."""
    if name not in models:
        raise Stop(BAD_LIST, f"model {name} is not in the list, which has {', '.join(sorted(models))}")
    looks = []
    for server in servers:
        look = server.look(name)
        if look is None:
            raise Stop(BAD_LIST, f"{server.address} has never heard of model {name}: a name it does not know would hold up every later change")
        looks.append((server, look))
    return looks


def compare_others(servers, models, name):
    """How the other models look: [("moving" | "differs", words)], those that match left out."""
    found = []
    for server in servers:
        for entry in models.values():
            if entry.name == name:
                continue
            look = server.look(entry.name)
            kind, words = ("differs", "the server has never heard of it") if look is None else judge(entry, look)
            if kind != "matches":
                found.append((kind, f"model {entry.name} on {server.address}: {words}"))
    return found


def generation_of(looks):
    return "; ".join(f"{server.address} {look.words()}" for server, look in looks)


def observe(servers, models, action):
    name = action["model"]
    looks = look_at(servers, models, name)
    shares = {}
    for _, look in looks:
        if look.serving is not None:
            shares[look.serving] = shares.get(look.serving, 0) + 1 / len(looks)
    # No `versions`: the server does not tell what lies in its folders, so what is not loaded may be there all the same.
    answer = {
        "serving": [{"version": str(version), "share": min(share, 1)} for version, share in sorted(shares.items())],
        "generation": generation_of(looks),
        "refusals": [f"{words}; bring the list up to date" for kind, words in compare_others(servers, models, name) if kind == "differs"],
    }
    print(json.dumps(answer))


def switch(servers, models, action, poll_seconds):
    name, target = action["model"], version_of(action, "to")
    looks = look_at(servers, models, name)
    if all(look.serves_alone(target) for _, look in looks):
        raise Stop(ALREADY, f"{target} serves alone on {spell_servers(servers)}")
    if action["expect"] is not None and action["expect"] != generation_of(looks):
        raise Stop(CONFLICT, f"expected {action['expect']}, found {generation_of(looks)}")
    for server, look in looks:
        if look.serving is not None and str(look.serving) not in (action["from"], action["to"]):
            raise Stop(CONFLICT, f"{server.address} serves {look.serving}, expected {action['from']}")
    others = compare_others(servers, models, name)
    if others:
        differs = [words for kind, words in others if kind == "differs"]
        raise Stop(BAD_LIST if differs else TRY_AGAIN, f"the list would change more than {name}: {'; '.join(differs or [words for _, words in others])}; nothing was sent")

    # One server first, the others after it took.
    groups = [group for group in (looks[:1], looks[1:]) if group]
    staged = []
    try:
        for group in groups:
            pending = [pair for pair in group if target not in pair[1].in_state("AVAILABLE")]
            for server, look in pending:
                staged.append((server, look))
                stage(server, look, models, name, target, poll_seconds)
            for server, look in pending:
                await_loaded(server, look, name, target, poll_seconds)
    except Stop as stop:
        raise Stop(stop.code, f"{stop}{take_back(staged, models, name)}") from None
    for group in groups:
        for server, _ in group:
            server.reload(with_versions(models, name, {target}))
        for server, _ in group:
            await_alone(server, name, target)
    print(f"{target} serves alone on {spell_servers(servers)}", file=sys.stderr)


def stage(server, look, models, name, target, poll_seconds):
    """Asks for the target beside all that is loaded: the only wanted version, if it failed to load, could not be undone."""
    available = look.in_state("AVAILABLE")
    if target in look.failed() and available:
        # One that failed is never tried again while it is wanted.
        server.reload(with_versions(models, name, available))
        time.sleep(2 * poll_seconds + 0.2)
    server.reload(with_versions(models, name, available | {target}))


def await_loaded(server, before, name, target, poll_seconds):
    """END may still be of an earlier life: it counts once the version was seen to move, or after two polls."""
    started = time.monotonic()
    moved = False
    while True:
        look = server.look(name)
        state, code, message = (look.states if look else {}).get(target, ("nowhere", 0, ""))
        if state == "AVAILABLE":
            return
        waited = time.monotonic() - started
        moved = moved or state in ("START", "LOADING")
        if state == "END" and code != 0 and (moved or (state, code, message) != before.states.get(target) or waited > 3 * poll_seconds + 1):
            raise Stop(DOES_NOT_LOAD, f"version {target} failed to load on {server.address}: {message}")
        if state in ("END", "UNLOADING") and code == 0 and moved:
            raise Stop(CONFLICT, f"version {target} was unloaded again on {server.address}: does the server poll its own list?")
        if not moved and state in ("nowhere", "END") and waited > 3 * poll_seconds + 1:
            raise Stop(DOES_NOT_LOAD, f"version {target} does not appear on {server.address}: is its folder under base_path, and every other base_path there?")
        if time.monotonic() + LOOK_SECONDS > server.deadline - CALL_SECONDS:
            raise Stop(DOES_NOT_LOAD, f"version {target} is {state} on {server.address} and the time is over; give more of it: --within, and timeout of the control plane")
        time.sleep(LOOK_SECONDS)


def take_back(staged, models, name):
    """Leaves the servers with what they had. Answers what is to be told of it."""
    left = []
    for server, look in staged:
        try:
            as_listed = judge(models[name], look)[0] == "matches" or not look.in_state("AVAILABLE")
            server.deadline = time.monotonic() + CALL_SECONDS
            server.reload(with_versions(models, name, None if as_listed else look.in_state("AVAILABLE")))
        except Stop as stop:
            left.append(str(stop))
    if left:
        return f"; and the staging could not be taken back: {'; '.join(left)}"
    return f"; {', '.join(f'{server.address} keeps {look.serving}' for server, look in staged)}" if staged else ""


def await_alone(server, name, target):
    while True:
        look = server.look(name)
        # One that finishes its last requests (UNLOADING) gets no new ones.
        if look is not None and look.serves_alone(target):
            return
        if time.monotonic() + LOOK_SECONDS > server.deadline:
            words = "nothing" if look is None else look.words()
            raise Stop(TRY_AGAIN, f"{server.address} took the list, but serves {words}: does it poll its own list, or its disk only once (--file_system_poll_wait_seconds=0)?")
        time.sleep(LOOK_SECONDS)


def spell_servers(servers):
    return ", ".join(server.address for server in servers)


# ---- input


KEYS = {"observe": {"action", "model", "labels"}, "switch": {"action", "action_id", "model", "labels", "from", "to", "expect"}}


def read_action(text):
    try:
        action = json.loads(text)
    except ValueError:
        raise Stop(BAD_INPUT, "standard input is no JSON; expected {\"action\": \"observe\", \"model\": …} (kubectl exec needs -i)") from None
    kind = action.get("action") if isinstance(action, dict) else None
    if kind not in KEYS:
        raise Stop(BAD_INPUT, f"action {json.dumps(kind)} is not known here; configure observe and switch only")
    unknown, missing = sorted(action.keys() - KEYS[kind]), sorted(KEYS[kind] - {"labels"} - action.keys())
    if unknown or missing:
        raise Stop(BAD_INPUT, f"keys of {kind}: {', '.join([f'{key} is unknown' for key in unknown] + [f'{key} is missing' for key in missing])}")
    if not isinstance(action["model"], str) or action["model"] == "":
        raise Stop(BAD_INPUT, f"model: found {json.dumps(action['model'])}, expected a name")
    if action.get("labels"):
        raise Stop(BAD_INPUT, f"labels: found {', '.join(sorted(action['labels']))}; nothing is done with them here, so remove plane.labels of the model")
    if kind == "switch":
        version_of(action, "to")
        if action["expect"] is not None and not isinstance(action["expect"], str):
            raise Stop(BAD_INPUT, f"expect: found {json.dumps(action['expect'])}, expected a text or null")
    return action


def version_of(action, key):
    text = action[key]
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or str(int(text)) != text or int(text) >= 2**63:
        raise Stop(BAD_INPUT, f"{key}: found {json.dumps(text)}, expected a version of TensorFlow Serving, as in \"7\"")
    return int(text)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Stop(BAD_INPUT, message)


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--endpoint", action="append", required=True, metavar="HOST:PORT", help="gRPC of the servers; may be repeated")
    parser.add_argument("--list", required=True, metavar="FILE", help="ModelServerConfig of all models, in text format")
    parser.add_argument("--within", type=float, default=50, metavar="SECONDS", help="longest time of a switch, below `timeout` of the control plane; default 50")
    parser.add_argument("--poll", type=float, default=1, metavar="SECONDS", help="the servers' --file_system_poll_wait_seconds; default 1")
    options = parser.parse_args()
    action = read_action(sys.stdin.read())
    deadline = time.monotonic() + (OBSERVE_SECONDS if action["action"] == "observe" else options.within)
    try:
        file = open(options.list, encoding="utf-8")
    except OSError as error:
        raise Stop(BAD_LIST, f"{options.list}: {error.strerror}") from None
    with file:
        models = read_list(options.list, file)
        servers = connect(options.endpoint, deadline)
        if action["action"] == "observe":
            return observe(servers, models, action)
        try:
            # A lost kubectl leaves its script running in the pod: the next one waits its turn.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Stop(TRY_AGAIN, f"another switch is under way here ({options.list} is locked)") from None
        return switch(servers, models, action, options.poll)


if __name__ == "__main__":
    try:
        main()
    except Stop as stop:
        print(f"switch.py: {stop}", file=sys.stderr)
        sys.exit(stop.code)
    except Exception as error:
        print(f"switch.py: unexpected: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(FINAL)
