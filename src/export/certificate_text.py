# SPDX-License-Identifier: Apache-2.0
"""A certificate (src/export/certificate.py) as a block of text for a person."""
from pathlib import Path
from typing import Any


def format_block(target: Path, proof: dict[str, Any]) -> str:
    """What was written, how to feed it, how near it is to the checkpoint."""
    told = proof["input"]
    shape = " x ".join(str(side or name) for side, name in zip(told["shape"], ("batch", "height", "width", "")))
    kind = f", opset {proof['opset']}, IR {proof['ir_version']}" if "opset" in proof else ""
    gives = f"raw, for decoder {proof['decoder']}"
    if proof["decode_rows"]:
        gives = "faces, best first, in pixels of the input"
    sides = "" if told["side_multiple"] == 1 else f", sides multiples of {told['side_multiple']}"
    lines = [f"{target}: {proof['model']} from {proof['checkpoint']} ({proof['format']}{kind}, {proof['precision']})",
             f"  input   {told['name']}: uint8 {shape}{sides}; normalised {told['normalised']}",
             f"  output  {', '.join(proof['outputs'])}: {gives}",
             f"  sha256  {proof['sha256']} (checkpoint {proof['checkpoint_sha256']})"]
    if "calibrated_on" in proof:
        lines.append(f"  calibrated on {_images(proof['calibrated_on'])}")
    if "sizes" not in proof:
        return "\n".join([*lines, f"  NOT compared with the checkpoint: {proof['why']}"])
    lines.append(f"  compared with the checkpoint: {proof['runtime']} against {proof['reference']}, on "
                 f"{_images(proof['compared_on'])}")
    for each in proof["sizes"]:
        faces = each["faces"]
        differences = ", ".join(f"{name} {value:.1e}" for name, value in each["largest_difference"].items())
        lines.append(f"    size {each['size']}, {each['images']} images: {differences}; faces over 0.3: "
                     f"{faces['checkpoint']} and {faces['file']}, {faces['matched']} the same, boxes within "
                     f"{faces['largest_box_difference']:.2g} px")
    if "ap" in proof:
        pairs = (f"{subset} {value:.4f} -> {proof['ap']['file'][subset]:.4f}"
                 for subset, value in proof["ap"]["checkpoint"].items())
        lines.append(f"    AP at IoU 0.5: {', '.join(pairs)}")
    if "speed" in proof:
        speed = proof["speed"]
        lines.append(f"    time: {1e3 * speed['int8_seconds']:.1f} ms, float32 "
                     f"{1e3 * speed['float32_seconds']:.1f} ms, ratio {speed['int8_to_float32']:.2f}")
    if not sum(each["faces"]["checkpoint"] for each in proof["sizes"]):
        lines.append("    no face was found in these images: give --images DIR with photographs")
    return "\n".join([*lines, f"  certificate {proof['verdict']}" + "".join(
        f"\n    {reason}" for reason in proof["reasons"])])


def _images(told: dict[str, Any]) -> str:
    both = told.get("also_calibrated")
    remark = f" ({both} of them calibrated it, too: of new images they prove little)" if both else ""
    return f"{told['images']} images of {told['folder']}{remark}"
