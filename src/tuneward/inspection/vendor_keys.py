r"""Forms of vendors' keys: what their documents say of prefix, length and checksum.

Place on the road: the table that ``inspection.secrets`` reads. Every rule has literals of which one stands in each of
its matches; repetitions are possessive (``{20,}+``), so nothing backtracks. Not caught: keys of vendors that give them
no prefix, unless a word stands beside.
"""

import re
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

from tuneward.inspection.boundaries import BEGINNING


class Rule(NamedTuple):
    """One form of key.

    Attributes:
        kind: of the finding.
        name: the finding's rule.
        literals: one of them stands in every match.
        pattern: the form; a group ``value`` is the secret where it is not the whole.
        confidence: of a finding.
        proven: confidence by the match, where the vendor's keys carry a checksum.
    """

    kind: str
    name: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]
    confidence: float
    proven: Callable[[str], bool] | None


def _rule(
    name: str,
    literals: str,
    pattern: str,
    *,
    kind: str = "api_key",
    confidence: float = 0.97,
    proven: Callable[[str], bool] | None = None,
) -> Rule:
    return Rule(kind, f"{kind}.{name}", tuple(literals.split()), re.compile(BEGINNING + pattern), confidence, proven)


_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checksum_holds(token: str) -> bool:
    """Whether the last six characters are the CRC-32 of the thirty before, in base 62 (GitHub's and npm's tokens)."""
    body = token.partition("_")[2]
    if len(body) != 36:
        return False
    value, digits = zlib.crc32(body[:30].encode()), ""
    for _ in range(6):
        value, rest = divmod(value, 62)
        digits = _BASE62[rest] + digits
    return digits == body[30:]


#: Vendors' documented formats.
RULES: Final = (
    _rule("aws", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _rule("alibaba", "LTAI", r"LTAI[A-Za-z0-9]{17,21}(?![A-Za-z0-9])"),
    _rule(  # random text has digits and long pieces; the class names of web pages (`sk-loading-indicator`) have neither
        "openai_like",
        "sk-",
        r"sk-(?:proj-|svcacct-|admin-|ant-|or-)?+(?=[A-Za-z_\-]{0,64}+[0-9])(?=[A-Za-z0-9_\-]{0,64}?[A-Za-z0-9]{12})"
        r"[A-Za-z0-9_\-]{20,}+",
    ),
    _rule("github", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{20,}+", proven=checksum_holds),
    _rule("github", "github_pat_", r"github_pat_[A-Za-z0-9_]{20,}+"),
    _rule("gitlab", "glpat- gldt- glrt- glptt-", r"gl(?:pat|dt|rt|ptt)-[A-Za-z0-9_\-]{18,}+"),
    _rule("slack", "xox", r"xox[abeoprs]-[A-Za-z0-9\-]{10,}+"),
    _rule("slack", "xapp-", r"xapp-[A-Za-z0-9\-]{10,}+"),
    _rule("slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}+"),
    _rule("discord_webhook", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/[0-9]{15,20}/[A-Za-z0-9_\-]{50,}+"),
    _rule("google", "AIza", r"AIza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])"),
    _rule("google_oauth", "ya29. GOCSPX-", r"(?:ya29\.|GOCSPX-)[A-Za-z0-9_\-]{20,}+"),
    _rule("stripe", "k_live_ k_test_", r"[rsp]k_(?:live|test)_[A-Za-z0-9]{10,}+"),
    _rule("stripe_webhook", "whsec_", r"whsec_[A-Za-z0-9+/=]{20,}+"),
    _rule("square", "sq0", r"sq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{22,}+"),
    _rule("paypal", "access_token$", r"access_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[a-f0-9]{32}(?![a-f0-9])"),
    _rule("shopify", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}(?![A-Za-z0-9])"),
    _rule("hugging_face", "hf_", r"hf_[A-Za-z0-9]{30,}+"),
    _rule("npm", "npm_", r"npm_[A-Za-z0-9]{30,}+", proven=checksum_holds),
    _rule("pypi", "pypi-", r"pypi-[A-Za-z0-9_\-]{50,}+"),
    _rule("sendgrid", "SG.", r"SG\.[A-Za-z0-9_\-]{16,}+\.[A-Za-z0-9_\-]{16,}+"),
    _rule("mailgun", "key-", r"key-[a-f0-9]{32}(?![A-Za-z0-9])"),
    _rule("mailchimp", "-us", r"[a-f0-9]{32}-us[0-9]{1,2}(?![A-Za-z0-9])"),
    _rule("twilio", "SK", r"SK[a-f0-9]{32}(?![A-Za-z0-9])"),
    _rule("telegram", ":AA", r"[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}(?![A-Za-z0-9_\-])"),
    _rule("digitalocean", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[a-f0-9]{64}(?![A-Za-z0-9])"),
    _rule("databricks", "dapi", r"dapi[a-f0-9]{32}(?:-[0-9])?(?![A-Za-z0-9])"),
    _rule("linear", "lin_api_", r"lin_api_[A-Za-z0-9]{32,}+"),
    _rule("new_relic", "NRAK- NRJS-", r"NR(?:AK|JS)-[A-Za-z0-9]{19,27}(?![A-Za-z0-9])"),
    _rule("grafana", "glsa_ glc_", r"(?:glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|glc_[A-Za-z0-9+/]{32,}+={0,2})"),
    _rule("vault", "hvs. hvb.", r"hv[bs]\.[A-Za-z0-9_\-]{24,}+"),
    _rule("terraform", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60,}+"),
    _rule("docker", "dckr_pat_", r"dckr_pat_[A-Za-z0-9_\-]{20,}+"),
    _rule("age", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{58}(?![A-Z0-9])", kind="private_key"),
    _rule(
        "three_parts",
        "eyJ",
        r"(?<![A-Za-z0-9_\-.])eyJ[A-Za-z0-9_\-]{8,}+\.eyJ[A-Za-z0-9_\-]{8,}+\.[A-Za-z0-9_\-]*+",
        kind="jwt",
    ),
    _rule(
        "url",
        "://",
        r"[A-Za-z][A-Za-z0-9+.\-]{1,15}://[^\s/:@\"'\\]{0,64}:(?P<value>[^\s/@\"'\\]{3,128})@(?=[A-Za-z0-9\[])",
        kind="connection_string",
        confidence=0.99,  # above that of the e-mail address which the same characters resemble
    ),
    _rule(
        "azure",
        "AccountKey= SharedAccessKey=",
        r"(?:AccountKey|SharedAccessKey)=(?P<value>[A-Za-z0-9+/]{40,}+={0,2})",
        kind="connection_string",
        confidence=0.98,
    ),
)
