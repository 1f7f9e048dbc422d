"""`tunable info MODEL`: network, objectives, parameters, recipe."""

from tunable_core import checkpoint
from tunable_core.commands.shared import add_json, print_json


def add_arguments(parser):
    parser.add_argument("model", metavar="MODEL", help="a weights file")
    add_json(parser)


def run(args) -> int:
    tensors, header = checkpoint.load(args.model)
    facts = {
        "network": header.network.model_dump(mode="json"),
        "objectives": list(header.objectives),
        "omega_range": [list(pair) for pair in header.omega_range],
        "parameters": sum(value.size for value in tensors.values()),
        "writer": header.writer,
        "recipe": header.recipe,
    }
    if args.json:
        print_json(facts)
        return 0
    network = ", ".join(f"{key} {value}" for key, value in facts["network"].items())
    print(f"network      {network}")
    print(f"objectives   {', '.join(header.objectives) or 'none: a plain network'}")
    print(f"parameters   {facts['parameters']:,} in {len(tensors)} tensors")
    print(f"writer       {header.writer}")
    print(f"recipe       {header.recipe.get('task', 'unknown')}, {header.recipe.get('steps', '?')} steps")
    return 0
