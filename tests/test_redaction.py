"""No kind of secret that a venue, a ledger, a cluster or a proxy uses gets through the log, wherever it stands.

Two ways are proven. What a program knows (the environment, `hide`) goes out by its value, in any spelling. What it does
not know, such as a token in an answer, goes out by the name before it or by its look. The values here are unknown to
the program unless a test says otherwise, so only names and looks can save them.
"""

import base64
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
import requests
from hypothesis import assume, given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from barwise import obs

KEY, SECRET = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5Yn"
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
KITE_KEY, KITE_TOKEN = "xxKite0key0app16", "q1w2E3r4T5y6U7i8O9p0aZsXdCfVgB"
CLIENT = "1100003626"
JWT = "eyJhbGciOiJIUzUxMiJ9.eyJkaGFuQ2xpZW50SWQiOiIxMTAwMDAzNjI2In0.s5Xk-2_PqTb0"
PEM_BODY = "MC4CAQAwBQYDK2VwBCIEIJ5rZs0mXoQy7dW1aNkQx8fVJ2u4"
PEM = f"-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n-----END PRIVATE KEY-----"
BASIC = base64.b64encode(b"squid:Pr0xyPa55word").decode()


@pytest.fixture(autouse=True)
def closed_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("BARWISE_LOG", *obs.CREDENTIALS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(obs, "_secrets", set())
    yield
    obs.close_logging()


def request_of(headers: dict[str, str], url: str = "https://venue.test/path", **body: Any) -> requests.PreparedRequest:
    return requests.Request("POST", url, headers=headers, **body).prepare()


def response_of(body: object, **headers: str) -> requests.Response:
    response = requests.Response()
    response._content = json.dumps(body).encode()
    response.headers.update(headers)
    return response


def stream_request(path: str, **headers: str) -> Request:
    return Request(path, Headers(**headers))


# What is in a line, as the wire, a library or a person would write it; and what may not get out.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "binance: the key's header": (f"X-MBX-APIKEY: {KEY}", (KEY,)),
    "binance: headers as a dict": (str({"User-Agent": "barwise", "X-MBX-APIKEY": KEY, "Accept": "*/*"}), (KEY,)),
    "binance: an HMAC signature in a query": (
        f"GET /api/v3/account?omitZeroBalances=true&timestamp=1785000000000&signature={SIGNATURE}",
        (SIGNATURE,),
    ),
    "binance: an Ed25519 signature in a query": (
        f"timestamp=1&signature={quote('wT9+Zk/q3Jm0==' * 3, safe='')}&recvWindow=5000",
        (quote("wT9+Zk/q3Jm0==" * 3, safe=""), "Zk/q3Jm0"),
    ),
    "binance: a listen key as an answer": (json.dumps({"listenKey": KEY}), (KEY,)),
    "binance: a listen key in a query": (f"PUT /api/v3/userDataStream?listenKey={KEY}", (KEY,)),
    "binance: a logon over the socket": (
        json.dumps({"method": "session.logon", "params": {"apiKey": KEY, "signature": SIGNATURE, "timestamp": 1}}),
        (KEY, SIGNATURE),
    ),
    "delta: headers of a signed question": (
        str({"api-key": KEY, "timestamp": "1785000000", "signature": SIGNATURE}),
        (KEY, SIGNATURE),
    ),
    "delta: headers as pairs of bytes": (
        str([(b"api-key", KEY.encode()), (b"timestamp", b"1"), (b"signature", SIGNATURE.encode())]),
        (KEY, SIGNATURE),
    ),
    "delta: an authentication over the socket": (
        json.dumps({"type": "auth", "payload": {"api-key": KEY, "signature": SIGNATURE, "timestamp": "1"}}),
        (KEY, SIGNATURE),
    ),
    "zerodha: where the login has led to": (
        f"http://127.0.0.1/?type=login&status=success&request_token={KITE_TOKEN}&action=login",
        (KITE_TOKEN,),
    ),
    "zerodha: the form of a session": (
        urlencode({"api_key": KITE_KEY, "request_token": KITE_TOKEN, "checksum": SIGNATURE}),
        (KITE_KEY, KITE_TOKEN, SIGNATURE),
    ),
    "zerodha: the answer of a session": (
        json.dumps(
            {"data": {"user_id": "AB1234", "access_token": KITE_TOKEN, "public_token": SECRET, "enctoken": KEY}}
        ),
        ("AB1234", KITE_TOKEN, SECRET, KEY),
    ),
    "zerodha: the header": (f"Authorization: token {KITE_KEY}:{KITE_TOKEN}", (KITE_KEY, KITE_TOKEN)),
    "zerodha: the value of the header alone": (
        f"refused with token {KITE_KEY}:{KITE_TOKEN} by the venue",
        (KITE_KEY, KITE_TOKEN),
    ),
    "zerodha: the address of the stream": (
        f"wss://ws.kite.trade/?api_key={KITE_KEY}&access_token={KITE_TOKEN}",
        (KITE_KEY, KITE_TOKEN),
    ),
    "zerodha: the cookie of the web page": (f'Cookie: _ga=GA1.2; enctoken="{KEY}=="; user_id=AB1234', (KEY, "AB1234")),
    "zerodha: the web page's header": (f"Authorization: enctoken {KEY}==", (KEY,)),
    "dhan: headers": (str({"access-token": JWT, "client-id": CLIENT}), (JWT, CLIENT)),
    "dhan: headers of a renewal": (f"access-token: {JWT}\r\ndhanClientId: {CLIENT}", (JWT, CLIENT)),
    "dhan: the answer of a renewal": (
        json.dumps({"dhanClientId": CLIENT, "accessToken": JWT, "expiryTime": "2026-11-24T04:30:00"}),
        (CLIENT, JWT),
    ),
    "dhan: the address of the stream": (
        f"wss://api-feed.dhan.co?version=2&token={JWT}&clientId={CLIENT}&authType=2",
        (JWT, CLIENT),
    ),
    "dhan: PIN and one-time password": (
        f"POST https://auth.dhan.co/app/generateAccessToken?dhanClientId={CLIENT}&pin=739154&totp=864207",
        (CLIENT, "739154", "864207"),
    ),
    "dhan: headers of a partner": (
        str({"partner_id": KEY, "partner_secret": SECRET, "partnerId": KITE_KEY}),
        (KEY, SECRET, KITE_KEY),
    ),
    "dhan: consent of an app": (
        f"consumeApp-consent?tokenId={KITE_TOKEN}&app_id={KEY}&app_secret={SECRET}&consentAppId={KITE_KEY}",
        (KITE_TOKEN, KEY, SECRET, KITE_KEY),
    ),
    "dhan: a token that stands alone": (f"token expired: {JWT}.", (JWT, JWT[25:60])),
    "ledger: the address": ("postgresql+psycopg://trader:Pa55-of-PG@db.test:5432/barwise", ("Pa55-of-PG",)),
    "ledger: a password with a slash and an at sign": ("postgresql://trader:s1/4sh@Pa55@db.test/b", ("s1/4sh", "Pa55")),
    "ledger: a password among the options": ("postgresql://db.test/b?user=trader&password=Pa55-of-PG", ("Pa55-of-PG",)),
    "ledger: words of libpq": ("host=db.test user=trader password='Pa55 of PG' dbname=b", ("Pa55 of PG", "of PG")),
    "ledger: the variable of libpq": ("PGPASSWORD=Pa55-of-PG psql", ("Pa55-of-PG",)),
    "cluster: an address with a password": ("ray://head:Pa55-of-Ray@10.0.0.7:10001", ("Pa55-of-Ray",)),
    "cluster: a password without a user": ("redis://:Pa55-of-Ray@10.0.0.7:6379", ("Pa55-of-Ray",)),
    "cluster: an option": ("ray start --redis-password Pa55-of-Ray --head", ("Pa55-of-Ray",)),
    "cluster: a variable": ("RAY_AUTH_TOKEN=Pa55-of-Ray ray status", ("Pa55-of-Ray",)),
    "proxy: the address": ("HTTPS_PROXY=http://squid:Pr0xyPa55word@proxy.test:3128", ("Pr0xyPa55word",)),
    "proxy: as requests has it": (
        str({"https": "http://squid:Pr0xyPa55word@proxy.test:3128/", "http": None}),
        ("Pr0xyPa55word",),
    ),
    "proxy: its header": (f"Proxy-Authorization: Basic {BASIC}", (BASIC,)),
    "proxy: the value of its header alone": (f"sent Basic {BASIC} to the proxy", (BASIC,)),
    "digest: several values in one header": (
        f'Authorization: Digest username="trader", nonce="1", response="{SIGNATURE}"',
        (SIGNATURE,),
    ),
    "bearer: the value alone": (f"refused Bearer {KEY} today", (KEY,)),
    "private key: PEM": (f"the key is {PEM}, as it was given", (PEM_BODY,)),
    "private key: PEM that was cut off": (PEM[:60], (PEM_BODY[:20],)),
    "private key: of RSA, in a file's words": (PEM.replace("PRIVATE", "RSA PRIVATE"), (PEM_BODY,)),
    "repr: a dict of lists, as a query is parsed": (str({"request_token": [KITE_TOKEN], "rows": [1]}), (KITE_TOKEN,)),
    "repr: an item that is set": (f"headers['api-key'] = '{KEY}'", (KEY,)),
    "repr: a page's form": (f'<input type="hidden" name="request_token" value="{KITE_TOKEN}">', (KITE_TOKEN,)),
    "repr: a value with the other quote in it": (str({"api_secret": f"it's-{SECRET}", "n": 1}), (SECRET,)),
    "repr: a value with its own quote in it": (json.dumps({"api_secret": f'a"{SECRET}'}), (SECRET,)),
    "repr: a text that was cut off": (json.dumps({"access_token": KITE_TOKEN, "n": 1})[:34], (KITE_TOKEN[:12],)),
    "wire: what was sent": (repr(f"GET / HTTP/1.1\r\nX-MBX-APIKEY: {KEY}\r\nHost: h\r\n".encode()), (KEY,)),
}

OBJECTS: dict[str, tuple[object, tuple[str, ...]]] = {
    "headers of a request": (request_of({"X-MBX-APIKEY": KEY}).headers, (KEY,)),
    "everything of a request": (
        vars(
            request_of(
                {"api-key": KEY}, f"https://u:{SECRET}@v.test/?signature={SIGNATURE}", json={"token": KITE_TOKEN}
            )
        ),
        (KEY, SECRET, SIGNATURE, KITE_TOKEN),
    ),
    "everything of an answer": (
        vars(response_of({"accessToken": KITE_TOKEN}, **{"Set-Cookie": f"enctoken={KEY}; path=/"})),
        (KITE_TOKEN, KEY),
    ),
    "the body of an answer": (response_of({"access_token": KITE_TOKEN}).content, (KITE_TOKEN,)),
    "a request of a stream": (
        stream_request(
            f"/?api_key={KITE_KEY}&access_token={KITE_TOKEN}", Authorization=f"token {KITE_KEY}:{KITE_TOKEN}"
        ),
        (KITE_KEY, KITE_TOKEN),
    ),
    "an error with the address in it": (
        requests.ConnectionError(f"Max retries exceeded with url: /RenewToken?token={JWT}"),
        (JWT, JWT[-20:]),
    ),
    "a dict with a telling name and a number": ({"pin": 739154, "client_id": int(CLIENT)}, ("739154", CLIENT)),
    "a dict with names of bytes": ({b"api-key": KEY.encode()}, (KEY,)),
    "headers as pairs": ([("api-key", KEY), ["signature", SIGNATURE], ("Host", "h")], (KEY, SIGNATURE)),
}


@dataclass
class Refusal:
    """An object whose repr has the line in it, as a dataclass of somebody's library has."""

    sent: str


def in_the_message(logger: logging.Logger, line: str) -> None:
    logger.error(line)


def in_an_argument(logger: logging.Logger, line: str) -> None:
    logger.error("the venue said %s", line)


def in_a_dict_of_arguments(logger: logging.Logger, line: str) -> None:
    logger.error("the venue said %(what)s", {"what": line})


def in_two_arguments(logger: logging.Logger, line: str) -> None:
    logger.error("%s%s", line[: len(line) // 2], line[len(line) // 2 :])


def in_the_repr_of_an_argument(logger: logging.Logger, line: str) -> None:
    logger.error("the venue said %r", line)


def in_an_extra_field(logger: logging.Logger, line: str) -> None:
    logger.error("refused", extra={"body": line})


def in_a_nested_dict(logger: logging.Logger, line: str) -> None:
    logger.error("refused", extra={"asked": {"tries": [{"sent": (line, 1)}], line: "as a name"}})


def in_the_repr_of_an_object(logger: logging.Logger, line: str) -> None:
    logger.error("refused %s", Refusal(line), extra={"refusal": Refusal(line)})


def in_an_exception(logger: logging.Logger, line: str) -> None:
    try:
        raise RuntimeError(line)
    except RuntimeError:
        logger.exception("refused")


def in_a_chained_exception(logger: logging.Logger, line: str) -> None:
    try:
        try:
            raise KeyError(line)
        except KeyError as error:
            error.add_note(line)
            raise RuntimeError("the venue has refused") from error
    except RuntimeError as error:
        logger.exception("refused: %s", error.__cause__)


def in_json_within_json(logger: logging.Logger, line: str) -> None:
    logger.error(json.dumps({"answer": json.dumps({"body": line})}))


def as_bytes(logger: logging.Logger, line: str) -> None:
    logger.error("%s", line.encode(), extra={"raw": line.encode()})


def percent_encoded(logger: logging.Logger, line: str) -> None:
    logger.error("redirected to https://h.test/?next=%s", quote(line, safe=""))


def percent_encoded_twice(logger: logging.Logger, line: str) -> None:
    logger.error("redirected to https://h.test/?next=%s", quote(quote(line, safe=""), safe=""))


def as_a_form(logger: logging.Logger, line: str) -> None:
    logger.error("sent next=%s", quote_plus(line))


PLACES: tuple[Callable[[logging.Logger, str], None], ...] = (
    in_the_message, in_an_argument, in_a_dict_of_arguments, in_two_arguments, in_the_repr_of_an_argument,
    in_an_extra_field, in_a_nested_dict, in_the_repr_of_an_object, in_an_exception, in_a_chained_exception,
    in_json_within_json, as_bytes, percent_encoded, percent_encoded_twice, as_a_form,
)  # fmt: skip


def written(home: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted((home / "logs").iterdir()))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_secret_gets_through_in_any_place(
    kind: str, place: Callable[[logging.Logger, str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, secrets = KINDS[kind]
    obs.configure_logging(tmp_path)
    place(logging.getLogger("barwise.exchange"), line)
    shown = written(tmp_path) + capsys.readouterr().err
    assert "***" in shown
    for secret in secrets:
        assert secret not in shown, shown


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_in_its_line_so_that_the_proof_can_fail(kind: str) -> None:
    line, secrets = KINDS[kind]
    # A signature in a query is looked for in its decoded form as well, which is not in the line.
    assert any(secret in line for secret in secrets)


@pytest.mark.parametrize("kind", OBJECTS)
def test_no_object_of_a_library_shows_a_secret(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thing, secrets = OBJECTS[kind]
    obs.configure_logging(tmp_path)
    logger = logging.getLogger("barwise.exchange")
    logger.error("sent %s", thing)
    logger.error("sent %r", thing, extra={"thing": thing, "deep": [{"thing": thing}]})
    shown = written(tmp_path) + capsys.readouterr().err
    for secret in secrets:
        assert secret not in shown, shown


class TestKnownValues:
    """A value that the program has read itself goes out without any name near it."""

    SECRET = "q7-Zw/9+Kp== \"x\\y'&ü"

    @pytest.mark.parametrize(
        "spelled",
        [
            lambda secret: secret,
            lambda secret: quote(secret, safe=""),
            quote_plus,
            lambda secret: json.dumps({"said": secret}),
            lambda secret: json.dumps(secret, ensure_ascii=False),
            repr,
            lambda secret: repr([secret]),
        ],
        ids=["plain", "percent-encoded", "form", "JSON", "JSON in UTF-8", "repr", "repr of a list"],
    )
    def test_it_goes_out_in_every_spelling(self, spelled: Callable[[str], str]) -> None:
        obs.hide(self.SECRET)
        assert "Zw" not in obs.redact(f"before {spelled(self.SECRET)} after")

    @pytest.mark.parametrize("before", ["", "k", "ke", "key:", "trader:"])
    @pytest.mark.parametrize("after", ["", "1", "12", ":password"])
    @pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
    def test_it_goes_out_of_a_longer_text_in_base64(
        self, before: str, after: str, encode: Callable[[bytes], bytes]
    ) -> None:
        obs.hide(SECRET)
        text = encode(f"{before}{SECRET}{after}".encode()).decode()
        left = obs.redact(f"said {text} today")
        # Of the value itself no more than the letters that it shares with its neighbours may be left.
        assert "***" in left
        longest = max(len(part) for part in left.split()[1].split("***"))
        assert longest <= 4 * (max(len(before), len(after)) // 3 + 2)

    def test_one_line_of_a_private_key_goes_out_by_itself(self) -> None:
        obs.hide(PEM)
        assert obs.redact(f"line 2: {PEM_BODY}") == "line 2: ***"

    @given(
        secret=st.text(
            st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="*"), min_size=6, max_size=80
        ),
        before=st.text(max_size=30),
        after=st.text(max_size=30),
    )
    def test_whatever_it_is_and_whatever_stands_around_it(self, secret: str, before: str, after: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(obs, "_secrets", {secret})
            assert secret not in obs.redact(f"{before}{secret}{after}")


TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+/", min_size=12, max_size=90)
NAMES = st.sampled_from(
    ["X-MBX-APIKEY", "apiKey", "api_key", "api-key", "signature", "listenKey", "request_token", "access_token",
     "checksum", "enctoken", "access-token", "accessToken", "dhanClientId", "client-id", "partnerId", "partner_secret",
     "tokenId", "password", "BINANCE_API_SECRET", "Proxy-Authorization", "Cookie", "pin", "totp",
     "private_key"]
)  # fmt: skip
FORMS = st.sampled_from(
    ["{n}={s}", "{n}: {s}", "?a=1&{n}={s}&b=2", "{{'{n}': '{s}', 'b': 2}}", '{{"a": 1, "{n}":"{s}"}}', "('{n}', '{s}')",
     "(b'{n}', b'{s}')", "{{'{n}': b'{s}'}}", '{{\\"{n}\\": \\"{s}\\"}}', "{n}=['{s}']", "x['{n}'] = '{s}'",
     "{n} = {s}; next", "<{n}='{s}'>", "f({n}={s})"]
)  # fmt: skip


class TestUnknownValues:
    @given(name=NAMES, form=FORMS, secret=TOKENS, before=st.sampled_from(["", "refused ", "[", "GET /x?"]))
    def test_a_value_behind_a_telling_name_goes_out_in_every_form(
        self, name: str, form: str, secret: str, before: str
    ) -> None:
        assume(not obs._is_telling(secret))  # a pair of names has no secret in it
        left = obs.redact(before + form.format(n=name, s=secret))
        assert secret not in left
        assert name in left

    @given(name=NAMES, form=FORMS, secret=TOKENS)
    def test_what_was_redacted_stays_as_it_is(self, name: str, form: str, secret: str) -> None:
        once = obs.redact(form.format(n=name, s=secret))
        assert obs.redact(once) == once

    @pytest.mark.parametrize(
        "text",
        [
            "BTCUSDT 1H: 2,136 bars, 100 % of them from https://data.binance.vision:443/data/spot",
            "wss://stream.binance.com:9443/ws/btcusdt@kline_1m is silent",
            "https://host:8080, mail to a@b",
            "ray://10.0.0.7:10001",
            "postgresql://db.test:5432/barwise",
            "Basic settings, Bearer of news, a token of trust, tokens 5 of 7",
            "missing: ('BINANCE_API_KEY', 'BINANCE_API_SECRET')",
            "DELTA_API_KEY is not set; candles need no key.",
            "--request-token is ZERODHA's.",
            "keys=3 monkey=4 design=5 signal=long opinion: 7 spinning=1",
            "the key is a pair (EMA, RSI); 50%25 off",
        ],
    )
    def test_ordinary_lines_stay_as_they_are(self, text: str) -> None:
        assert obs.redact(text) == text

    @given(
        st.lists(
            st.sampled_from(["bar", "fill", "2", "42580.5", "BTCUSDT", "stop:", "x=1", "(a,", "b)", "12:30", "'q'"])
        )
    )
    def test_lines_of_a_backtest_stay_as_they_are(self, words: list[str]) -> None:
        text = " ".join(words)
        assert obs.redact(text) == text

    def test_an_empty_value_is_not_said_to_be_hidden(self) -> None:
        assert obs.redact("{'api_key': '', 'n': 1}") == "{'api_key': '', 'n': 1}"

    def test_what_stands_beside_a_secret_stays_readable(self) -> None:
        assert obs.redact(f"GET /a?symbol=BTCUSDT&signature={SIGNATURE}&limit=5") == (
            "GET /a?symbol=BTCUSDT&signature=***&limit=5"
        )
        assert obs.redact(f"{{'api-key': '{KEY}', 'timestamp': '1'}}") == "{'api-key': '***', 'timestamp': '1'}"
        assert obs.redact(f"postgresql://me:{SECRET}@db.test:5432/b") == "postgresql://***@db.test:5432/b"

    def test_a_long_line_of_one_word_takes_no_time_worth_mentioning(self) -> None:
        """Patterns that go back over what they have read would take hours here, and the test would never end."""
        words = ("token", "a.b-c_", "://", "://a:", "token:", "\\", "eyJ", "eyJabcdef.", "-", "--api-", "('api-key', '",
                 "%3A", "Basic ", "token\\n", "'", "[")  # fmt: skip
        for word in words:
            obs.redact(f"token {word * 20_000}")
            obs.redact(f"token={word * 20_000}")
