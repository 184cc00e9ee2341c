"""Plans and results as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudfree.storage.outputs import Storage


def plan_text(plan: dict[str, Any]) -> str:
    """Return what ``Plan.describe`` says, in lines."""
    lines = [
        f"grid     {plan['crs']}, {plan['resolution_m']:g} m, "
        f"{plan['shape'][1]} x {plan['shape'][0]} px, area {plan['area_km2']:,.1f} km2",
        f"model    {plan['model']}",
    ]
    for step in plan["steps"]:
        lines += [
            f"step     {step['time']}",
            f"  optical  {', '.join(step['optical'])}",
            *(f"  offset   {_offset_text(one)}" for one in _unlike(step["offsets"].values())),
            *(f"  {word:8} {_candidate_text(one)}" for word, one in _rated(step["considered"])),
            f"  radar    {_radar_text(step, plan['needs_radar'])}",
            *(
                f"  {word:8} {_candidate_text(one)}"
                for word, one in _rated(step["radar_considered"])
            ),
            *(f"  others   {text}" for text in _references_text(step["references"])),
            f"  masks    {_mask_text(plan, step)}",
            f"  gaps     optical {step['gaps_km2']['optical']:g} km2, "
            f"radar {step['gaps_km2']['radar']:g} km2",
        ]
    lines += [
        f"work     {plan['chunks']} chunks of {plan['chunk_px']} px with a halo of "
        f"{plan['halo_px']} px, at most {plan['windows_at_most']} windows",
        f"check    {plan['check_at_most']['places']} places, at most "
        f"{plan['check_at_most']['windows']} windows",
        f"bytes    read up to {plan['read_bytes'] / 1e6:,.0f} MB, "
        f"of other days up to {plan['other_days_bytes'] / 1e6:,.0f} MB, "
        f"stored up to {plan['stored_bytes'] / 1e6:,.0f} MB before compression",
        f"memory   about {plan['memory_bytes'] / 1e9:.1f} GB per process",
        *(f"warning  {warning}" for warning in plan["warnings"]),
    ]
    return "\n".join(lines)


def _references_text(references: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return of each optical scene how far its other days lie, their cloud, and what watches."""
    lines = []
    for scene, found in references.items():
        days = ", ".join(f"{one['days']:+d} d ({one['cloud_percent']:.0f} %)" for one in found)
        lines.append((f"of {scene}: " if len(references) > 1 else "") + f"{days} cloud")
        watches = [one["radar"] for one in found if one["radar"]]
        if watches:
            orbit, count = watches[0]["orbit"], len(watches)
            lines.append(f"radar of orbit {orbit} tells of {count} where the ground changed")
    return lines


def _mask_text(plan: dict[str, Any], step: dict[str, Any]) -> str:
    names = ", ".join(dict.fromkeys(plan["masks"][scene] for scene in step["optical"]))
    return f"{plan['mask_file']}, over {names}" if plan["mask_file"] else names


def _unlike(offsets: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the different ones of some offsets."""
    return list({(one["dn"], one["why"]): one for one in offsets}.values())


def _offset_text(offset: dict[str, Any]) -> str:
    if offset["dn"] is None:
        return f"to be read off the pixels: {offset['why']}"
    return f"{offset['dn']} DN: {offset['why']}"


def _rated(candidates: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return candidates with a word each; a single one needs no comparison."""
    words = ["chosen", *("or" for _ in candidates[1:])]
    return list(zip(words, candidates, strict=True)) if len(candidates) > 1 else []


def _candidate_text(candidate: dict[str, Any]) -> str:
    cloud = candidate.get("cloud_percent")
    return (
        f"{candidate['time'][:16]} covers {candidate['covered']:.0%}"
        + (f", cloud {cloud:.0f} %" if cloud is not None else "")
        + f", {candidate['days']:.1f} days away"
        + (f", score {candidate['score']:.2f}" if cloud is not None else "")
    )


def _radar_text(step: dict[str, Any], needs_radar: bool) -> str:
    if not step["radar"]:
        if needs_radar:
            serve = "only other days serve" if step["references"] else "cloudy pixels stay hidden"
        else:
            serve = "other days and inpainting serve" if step["references"] else "inpainting serves"
        return f"none in reach: {serve}"
    age = step["radar_age_h"]
    polarizations = " and ".join(name.upper() for name in step["polarizations"])
    return (
        f"{', '.join(step['radar'])} ({polarizations}, "
        f"{abs(age):.1f} h {'before' if age < 0 else 'after'})"
    )


def run_text(summary: dict[str, Any], storage: Storage, resumed: int) -> str:
    """Return what run.json says, and where to look, in lines."""
    pixels, windows = summary["pixels"], summary["windows"]
    kinds = ("seen", "other_days", "reconstructed", "not_restored")
    shown = max(sum(pixels[kind] for kind in kinds), 1)
    seconds = summary["seconds"]
    total = sum(seconds.values())
    lines = [
        *(
            f"{step['time'][:10]}  radar {_radar_text(step, summary['needs_radar'])}"
            for step in summary["steps"]
        ),
        *(f"{step['time'][:10]}  left out: {_why_left_out(step)}" for step in summary["left_out"]),
        f"pixels   {pixels['seen']:,} seen ({pixels['seen'] / shown:.1%}), "
        f"{pixels['other_days']:,} made of other days ({pixels['other_days'] / shown:.1%}), "
        f"{pixels['reconstructed']:,} reconstructed ({pixels['reconstructed'] / shown:.1%}), "
        f"{pixels['not_restored']:,} not restored",
        f"windows  {windows['computed']} computed, {windows['skipped']} skipped",
        "rows     "
        + ", ".join(f"{row} {value:.1f} s ({value / total:.0%})" for row, value in seconds.items()),
        f"memory   {summary['peak_memory_bytes'] / 1e9:.2f} GB at the peak",
    ]
    lines += [f"maker    {choice_text(one)}" for one in summary["choice"]]
    lines += _check_text(summary["check"])
    lines += [f"warning  {warning}" for warning in summary["warnings"]]
    if resumed:
        lines.append(f"resumed  {resumed} of {summary['chunks']} chunks were done before")
    lines += [
        f"picture  {storage.join('preview.png')}",
        f"report   {storage.join('report.html')}",
        *(f"COG      {storage.join(name)}" for name in _pictures(summary)[:3]),
        f"cube     {storage.join('cube.zarr')}",
    ]
    return "\n".join(lines)


def _pictures(summary: dict[str, Any]) -> list[str]:
    return [name for name in summary["cogs"] if name.endswith("_reflectance.tif")]


def _why_left_out(step: dict[str, Any]) -> str:
    """Return why a step is not in the product."""
    if "unreadable" in step:
        return str(step["unreadable"])
    return f"shows {step['seen_share']:.2%} of the area, less than --min-seen"


def _check_text(check: dict[str, Any] | None) -> list[str]:
    """Return what a self-check found of either kind of made pixels, a line a model."""
    if check is None:
        return []
    others = _kind_text(check["other_days"], "made of other days") if "other_days" in check else []
    return [*others, *_kind_text(check, "reconstructed")]


def choice_text(choice: dict[str, Any]) -> str:
    """Return which model makes the pixels of a scene that no other day saw, and why."""
    beside = f" with {choice['radar']}" if choice["radar"] else ""
    found = ", ".join(f"{name} {one:.1f} dB" for name, one in choice["psnr_db"].items())
    measured = f" ({found} on {choice['pixels']:,} hidden pixels)" if found else ""
    return f"of {choice['optical']}{beside}: {choice['maker']}; {choice['why']}{measured}"


def _kind_text(check: dict[str, Any], how: str) -> list[str]:
    if not check["models"]:
        return [f"check    nothing {how} could be checked: {check['why_not']}"]
    words = [
        f"{name} is wrong by {one['mae']:.4f} on average, PSNR {one['psnr_db']:.1f} dB"
        for name, one in check["models"].items()
    ]
    head = f"check    {check['pixels']:,} seen pixels hidden in {check['places']} places, {how}: "
    return [head + words[0], *(f"         {word}" for word in words[1:])]


def status_text(status: dict[str, Any]) -> str:
    """Return what ``Status.describe`` says, in lines."""
    share = status["pixels_done"] / max(status["pixels"], 1)
    holder = status["holder"]
    lines = [
        f"output   {status['address']}",
        f"chunks   {status['chunks_done']:,} of {status['chunks']:,} done, {share:.1%} of "
        f"{status['pixels']:,} pixels",
        *(f"failed   {name}: {reason}" for name, reason in status["failed"].items()),
    ]
    if status["pixels_per_s"]:
        lines.append(
            f"rate     {status['pixels_per_s'] / 1e6:.2f} Mpx/s, "
            f"about {status['eta_s']:,.0f} s to the last chunk"
        )
    if holder:
        lines.append(
            f"run      host {holder['host']}, process {holder['pid']}, since {holder['since']}, "
            f"last sign of life {holder['age_s']:.0f} s ago"
        )
    elif status["finished"]:
        lines.append(f"finished {status['finished']}")
    else:
        lines.append("run      nobody is at work; the command that began it resumes it")
    return "\n".join(lines)
