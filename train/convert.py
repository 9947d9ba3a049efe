"""Makes a folder that limoe serves from a checkpoint that is not safetensors.

    python convert.py CHECKPOINT --out FOLDER [--config NAME|FILE] [--tokenizer FOLDER] …

CHECKPOINT is recognised by what is in it:

    Hugging Face   a folder with pytorch_model.bin, or its index and shards, and config.json (CLIP, SigLIP, ChineseCLIP,
                   or one tower of the first two)
    OpenCLIP       open_clip_pytorch_model.bin or a checkpoint of its training; open_clip_config.json beside it, or --config
    OpenAI         ViT-B-32.pt and its like, a TorchScript archive
    Long-CLIP      longclip-B.pt and its like: CLIP with 248 positions
    CLIP-MoE       CLIP with experts in its blocks; becomes limoe-2
    V-MoE          PREFIX.index with PREFIX.data-00000-of-0000N, or their folder; becomes limoe-2

Nothing in a checkpoint is run: its pickles are read as data, and one that wants more than tensors is refused with the name
of what it wanted. Needs numpy alone.
"""

import argparse
import sys
from pathlib import Path

from checkpoints import Refused, folders, limoe2, open_clip, vmoe
from checkpoints.pickles import read_torch
from checkpoints.tensors import Tensor, read_index, read_safetensors


def read_any(path: Path) -> tuple[dict[str, Tensor], bool]:
    """A file's tensors, and whether it is a TorchScript archive."""
    if path.name.endswith(".safetensors"):
        return read_safetensors(path), False
    return read_torch(path)


# ---- each family: config's name and content, tensors, files to copy


class Made:
    def __init__(self, config_name: str, config: dict, tensors: dict[str, Tensor], files: list[Path], what: str):
        self.config_name, self.config, self.tensors, self.files, self.what = config_name, config, tensors, files, what


# "model_type", and whether such a model takes pictures.
HUGGING_FACE = {
    "clip": True, "siglip": True, "chinese_clip": True, "clip_vision_model": True, "siglip_vision_model": True,
    "clip_text_model": False, "siglip_text_model": False,
}  # fmt: skip


def hugging_face(path: Path, tensors: dict[str, Tensor], arguments) -> Made:
    folder = path if path.is_dir() else path.parent
    place = Path(arguments.config) if arguments.config else folder / "config.json"
    config = folders.read_json(place)
    kind = config.get("model_type")
    if kind not in HUGGING_FACE:
        raise Refused(f'{place}: "model_type" is {kind!r}; accepted are {", ".join(HUGGING_FACE)}')
    beside = [folder / name for name in folders.PROCESSORS if (folder / name).is_file() and HUGGING_FACE[kind]]
    if not beside and HUGGING_FACE[kind]:
        raise Refused(f"{folder / 'preprocessor_config.json'}: is missing; it says how pictures are prepared")
    return Made(
        "config.json",
        config,
        open_clip.weights(str(path), tensors),
        beside,
        f"a {kind} of Hugging Face",
    )


def from_open_clip(path: Path, tensors: dict[str, Tensor], script: bool, arguments) -> Made:
    """OpenCLIP, OpenAI, Long-CLIP: one naming."""
    where, beside = str(path), path.parent / "open_clip_config.json"
    long = "positional_embedding_res" in tensors
    tensors = open_clip.merge_positions(where, open_clip.weights(where, tensors))
    if arguments.config and not Path(arguments.config).is_file():
        said, config = f"--config {arguments.config}", open_clip.whole_config(open_clip.architecture(arguments.config))
    elif arguments.config or beside.is_file():
        said = arguments.config or str(beside)
        config = folders.read_json(Path(said))
    elif script or long:
        said, config = where, open_clip.openai_config(where, tensors)
    else:
        raise Refused(
            f"{path}: a CLIP in OpenCLIP's names, whose heads and activation are not in the file; --config names an "
            f"open_clip_config.json or an architecture: {', '.join(open_clip.architectures())}"
        )
    open_clip.check_config(where, tensors, config, said)
    return Made(
        "open_clip_config.json", config, tensors, [], "Long-CLIP" if long else "OpenAI's CLIP" if script else "OpenCLIP"
    )


def from_clip_moe(path: Path, tensors: dict[str, Tensor], arguments) -> Made:
    config, made = limoe2.from_clip_moe(str(path), tensors, arguments.name, arguments.top_k)
    return Made("config.json", config, made, [], "CLIP-MoE")


def text_tower(arguments, embed: int) -> tuple[dict, dict[str, Tensor]]:
    """The text half of another folder: what it adds to the config, and its tensors."""
    folder = arguments.text_tower
    config, tensors = folders.read_json(folder / "config.json"), folders.read_weights(folder)
    if config.get("format") != "limoe-2" or not {"image", "text"} <= set(config) or config.get("moe", {}).get("text"):
        raise Refused(
            f"{folder / 'config.json'}: a limoe-2 of pictures and texts, whose texts meet no experts, is accepted as --text-tower"
        )
    if config.get("embed") != embed:
        raise Refused(f'{folder / "config.json"}: "embed" is {config.get("embed")}, the pictures\' is {embed}')
    return {"text": config["text"]}, {
        name: t for name, t in tensors.items() if name.startswith("text.") or name == "logit_scale"
    }


def from_vmoe(prefix: str, arguments) -> Made:
    if bool(arguments.text_tower) == arguments.no_text:
        raise Refused(
            f"{prefix}: V-MoE has no text tower. --text-tower FOLDER takes that of a limoe-2; "
            "--no-text makes a model of pictures alone"
        )
    image, moe, tensors = limoe2.from_vmoe(prefix + ".index", vmoe.read_vmoe(prefix), arguments.top_k)
    embed = image["tower"]["width"]
    text, more = ({}, {}) if arguments.no_text else text_tower(arguments, embed)
    config = (
        dict(format="limoe-2", name=arguments.name, embed=embed, image=image) | text | ({"moe": moe} if moe else {})
    )
    return Made("config.json", config, tensors | more, [], "V-MoE")


def convert(arguments) -> Made:
    path = arguments.checkpoint
    if prefix := vmoe.find_prefix(path):
        return from_vmoe(prefix, arguments)
    script = False
    if path.is_dir():
        for name, read in (
            ("pytorch_model.bin", lambda p: read_torch(p)[0]),
            ("pytorch_model.bin.index.json", lambda p: read_index(p, lambda shard: read_torch(shard)[0])),
            ("open_clip_pytorch_model.bin", lambda p: read_torch(p)[0]),
        ):
            if (path / name).is_file():
                path, tensors = path / name, read(path / name)
                break
        else:
            raise Refused(
                f"{path}: neither pytorch_model.bin, its index, open_clip_pytorch_model.bin nor a V-MoE's .index"
            )
    elif path.name.endswith(".index.json"):
        tensors = read_index(path, lambda shard: read_any(shard)[0])
    else:
        tensors, script = read_any(path)
    tensors = open_clip.unwrapped(tensors)
    if limoe2.is_clip_moe(tensors):
        return from_clip_moe(path, tensors, arguments)
    if any(name.startswith(("vision_model.", "text_model.")) for name in tensors):
        return hugging_face(path, tensors, arguments)
    if any(name.startswith("visual.") for name in tensors):
        return from_open_clip(path, tensors, script, arguments)
    names = ", ".join(sorted(tensors)[:3])
    raise Refused(
        f'{path}: {len(tensors)} tensors ({names[:200]}), of which none is "visual.…", "vision_model.…" or "text_model.…"'
    )


# ---- the command


def name_of(path: Path) -> str:
    """What requests call the model: letters, digits, '.', '_' and '-'."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.name)
    return safe.lstrip(".-")[:127] or "model"


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a file, a folder, or the prefix of a V-MoE")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder to make")
    parser.add_argument("--force", action="store_true", help="replace the folder if it holds a model")
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help="of an OpenCLIP: an architecture by name (ViT-B-32, ViT-L-14-quickgelu, …), or a config file instead of the one beside",
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FOLDER|FILE", help="where the tokenizer's files are; else beside"
    )
    parser.add_argument("--name", help="of a limoe-2: what requests call the model; else the folder's name")
    parser.add_argument(
        "--top-k", type=int, default=2, metavar="K", help="of CLIP-MoE and V-MoE: experts a token (default 2)"
    )
    parser.add_argument(
        "--text-tower", type=Path, metavar="FOLDER", help="of V-MoE: a limoe-2 whose text tower is taken"
    )
    parser.add_argument("--no-text", action="store_true", help="of V-MoE: a model of pictures alone")
    arguments = parser.parse_args(words)
    if arguments.name is not None and name_of(Path(arguments.name)) != arguments.name:
        parser.error(
            f"--name is {arguments.name!r}; letters, digits, '.', '_' and '-' are accepted, not '.' or '-' first"
        )
    arguments.name = arguments.name or name_of(arguments.out.absolute())
    return arguments


def takes_texts(config: dict) -> bool:
    limoe2_of_pictures = config.get("format") == "limoe-2" and "text" not in config
    return not limoe2_of_pictures and not str(config.get("model_type")).endswith("_vision_model")


CARD = """# {name}

{what}, converted by train/convert.py from `{source}`. Its licence and its terms are those of the original.
"""
NO_TEXT = """
The model has no text tower: it embeds pictures, and scores nothing by texts.
"""


def run(arguments) -> None:
    folders.check_place(arguments.out, arguments.force)
    made = convert(arguments)
    beside = arguments.checkpoint if arguments.checkpoint.is_dir() else arguments.checkpoint.parent
    pictures_alone = not takes_texts(made.config)
    words = [] if pictures_alone else folders.tokenizer_files(arguments.tokenizer, arguments.text_tower, beside)
    files = made.files + words
    card = CARD.format(name=arguments.name, what=made.what, source=arguments.checkpoint.name)
    card += NO_TEXT if pictures_alone else ""
    folders.write_folder(arguments.out, made.config_name, made.config, made.tensors, files, card, arguments.force)
    values = sum(t.values.size for t in made.tensors.values())
    print(f"{arguments.out}: {made.what}, {len(made.tensors)} tensors, {values / 1e6:.1f} M parameters")
    if not words and not pictures_alone:
        print(
            f"{arguments.out}: no tokenizer was beside the checkpoint; --tokenizer names a folder that has one",
            file=sys.stderr,
        )


def main(words: list[str] | None = None) -> int:
    arguments = parse(words)
    try:
        run(arguments)
    except Refused as refused:
        print(f"convert.py: {refused}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"convert.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
