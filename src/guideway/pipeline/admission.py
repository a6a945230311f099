"""Admission: judge a release for an environment, and let it in or say why not."""

from __future__ import annotations

from guideway.core.release import Release
from guideway.core.spec import SpecFile
from guideway.pipeline.assess import ADMITTING, Assessed, assess
from guideway.pipeline.process import Emit
from guideway.pipeline.tell import tell
from guideway.pipeline.workshop import Workshop
from guideway.sealing.admit import admit, check_not_older


def admitted(shop: Workshop, file: SpecFile, release: Release, emit: Emit) -> Assessed:
    """Judge *release* for the environment of *file*, and admit it.

    The clauses of ``seal`` are asked again: what only warned where it was sealed may block here.

    Raises:
        Refused: a blocking clause is not proven, or a newer release was admitted there before.
        Corrupt: nobody trusted signed the release.
    """
    found = assess(shop, file, release, at=shop.clock(), when=ADMITTING)
    if found.level != "dev":  # in dev, going back and forth is the work
        others = [one for one in found.dossier.approvals if one.key not in found.dossier.authors]
        check_not_older(shop.database, release, others, environment=file.environment)
        tell([one for one in found.judgements if one.waived], emit)
    seen = [one.evidence for one in found.dossier.proofs if not one.envelope]
    beside = {one.envelope for one in found.dossier.proofs if one.envelope}
    admit(
        shop.blobs,
        shop.database,
        shop.signer,
        shop.trusted,
        release,
        environment=file.environment,
        judgements=found.judgements,
        policy=found.policy,
        level=found.level,
        observed=seen,
        proofs=sorted({*beside, *found.waivers}),
        at=shop.clock(),
    )
    return found
