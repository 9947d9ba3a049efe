"""Sparse upcycling (arXiv 2212.05055): a dense model becomes a mixture of experts, each a copy of the MLP that was there.

    python upcycle.py FOLDER --out FOLDER --experts 8 [--top-k 2] [--blocks 6,7,8,9,10,11] [--towers image,text]

FOLDER is any that limoe serves: a CLIP or SigLIP of Hugging Face, an OpenCLIP, limoe-1, limoe-2. Of one tower comes a limoe-1,
of two a limoe-2. Routers are new; gates are renormalised, so that until it is tuned the mixture answers as the dense model:
with --top-k 1 the gate is 1, and the bits are the same; with more, gates add up to 1 within rounding, and so do the answers.
Needs numpy alone.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from checkpoints import Refused, dense, folders
from checkpoints.tensors import Tensor
from convert import name_of

MOST_EXPERTS, MOST_TOP_K = 1024, 16


def blocks_of(word: str | None, count: int, tower: str) -> list[int]:
    """ "1,3,5", or by default every other one, the last among them, as in V-MoE and LIMoE."""
    if word is None:
        return list(range((count - 1) % 2, count, 2))
    try:
        found = sorted({int(part) for part in word.split(",")})
    except ValueError:
        raise Refused(f"--blocks is {word!r}; block numbers with commas between them are accepted") from None
    if found[0] < 0 or found[-1] >= count:
        raise Refused(
            f"--blocks names {found[0] if found[0] < 0 else found[-1]}; the {tower} tower has blocks 0 to {count - 1}"
        )
    return found


def repeated(t: Tensor, experts: int) -> Tensor:
    """`experts` copies that take the memory of one."""
    return t.map(lambda v: np.broadcast_to(v, (experts, *v.shape)))


def upcycle(
    tensors: Mapping[str, Tensor], prefix: str, blocks: list[int], experts: int, seed: int
) -> dict[str, Tensor]:
    """MLPs of those blocks to experts; a router for each, small, so that it starts undecided."""
    made = dict(tensors)
    for i in blocks:
        b = f"{prefix}{i}."
        for part in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
            if b + "mlp." + part not in made:
                raise Refused(f'block "{b[:-1]}" has no MLP "{b}mlp.{part}": it is not dense')
            made[b + "moe." + part] = repeated(made.pop(b + "mlp." + part), experts)
        width = made[b + "moe.fc2.weight"].shape[1]
        rng = np.random.default_rng([seed, *b.encode()])
        made[b + "moe.router.weight"] = Tensor("F32", (0.02 * rng.standard_normal((experts, width))).astype("<f4"))
    return made


def run(arguments) -> None:
    folders.check_place(arguments.out, arguments.force)
    config, tensors = dense.read(arguments.model)
    if config.get("moe"):
        raise Refused(f'{arguments.model}: has experts already ("moe")')
    moe: dict = {}
    if config["format"] == "limoe-1":
        moe["blocks"] = blocks_of(arguments.blocks, config["blocks"], "only")
        tensors = upcycle(tensors, "blocks.", moe["blocks"], arguments.experts, arguments.seed)
    else:
        towers = [tower for tower in arguments.towers if tower in config]
        if not towers:
            raise Refused(f"{arguments.model}: has no tower of --towers {','.join(arguments.towers)}")
        for tower in towers:
            moe[tower] = blocks_of(arguments.blocks, config[tower]["tower"]["blocks"], tower)
            tensors = upcycle(tensors, f"{tower}.blocks.", moe[tower], arguments.experts, arguments.seed)
    moe |= dict(experts=arguments.experts, top_k=arguments.top_k, renormalize=True)
    config |= dict(name=arguments.name, moe=moe)
    card = (
        f"# {arguments.name}\n\n{arguments.experts} experts by sparse upcycling (train/upcycle.py) of `{arguments.model.name}`, "
        "not tuned yet. Its licence and its terms are those of the original.\n"
    )
    folders.write_folder(
        arguments.out, "config.json", config, tensors, dense.files_beside(arguments.model), card, arguments.force
    )
    print(f"{arguments.out}: {config['format']}, {moe}")


def towers(word: str) -> list[str]:
    found = word.split(",")
    if not set(found) <= {"image", "text"} or len(set(found)) != len(found):
        raise argparse.ArgumentTypeError(f"{word!r}; image, text or both with a comma between are accepted")
    return sorted(found)


def number(most: int):
    def parse(word: str) -> int:
        if not word.isdecimal() or not 1 <= int(word) <= most:
            raise argparse.ArgumentTypeError(f"{word!r}; 1 to {most} are accepted")
        return int(word)

    return parse


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the folder of the dense model")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder to make")
    parser.add_argument("--force", action="store_true", help="replace the folder if it holds a model")
    parser.add_argument("--experts", type=number(MOST_EXPERTS), required=True, metavar="E")
    parser.add_argument("--top-k", type=number(MOST_TOP_K), default=1, metavar="K", help="experts a token (default 1)")
    parser.add_argument(
        "--blocks", metavar="N,N,…", help="which get experts, of each tower (default every other, the last too)"
    )
    parser.add_argument(
        "--towers", type=towers, default=["image", "text"], metavar="T,T", help="default those that there are"
    )
    parser.add_argument("--name", help="what requests call the model; else the folder's name")
    parser.add_argument("--seed", type=int, default=0, help="of the routers")
    arguments = parser.parse_args(words)
    if arguments.top_k > arguments.experts:
        parser.error(f"--top-k is {arguments.top_k}; at most --experts, {arguments.experts}, is accepted")
    if arguments.seed < 0:
        parser.error(f"--seed is {arguments.seed}; 0 or more is accepted")
    if arguments.name is not None and name_of(Path(arguments.name)) != arguments.name:
        parser.error(
            f"--name is {arguments.name!r}; letters, digits, '.', '_' and '-' are accepted, not '.' or '-' first"
        )
    arguments.name = arguments.name or name_of(arguments.out.absolute())
    return arguments


def main(words: list[str] | None = None) -> int:
    arguments = parse(words)
    try:
        run(arguments)
    except (Refused, OSError) as error:
        print(f"upcycle.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
