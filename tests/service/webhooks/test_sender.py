import asyncio
import ipaddress
import socket
import time
from collections.abc import Sequence

import pytest

from service.queue.webhook_records import DueDelivery
from service.webhooks.addresses import Address, is_public
from service.webhooks.sender import Resolve, Sender, Tried
from service.webhooks.signing import new_secret, signed_headers
from tests.service.webhooks.receiver import receiving, verify


def due(url: str, secret: str = "whsec_c2VjcmV0") -> DueDelivery:
    return DueDelivery(1, "a", "msg_a_1", url, secret, '{"type":"job.failed"}', 1)


def send(
    delivery: DueDelivery, *, allow_private: bool = True, timeout_s: float = 5, find: Resolve | None = None
) -> Tried:
    async def run() -> Tried:
        more = {} if find is None else {"find": find}
        sender = Sender(allow_private=allow_private, timeout_s=timeout_s, **more)
        try:
            return await sender.send(delivery)
        finally:
            await sender.close()

    return asyncio.run(run())


def leads_to(*addresses: str) -> Resolve:
    async def find(_host: str, _port: int) -> Sequence[Address]:
        return [ipaddress.ip_address(address) for address in addresses]

    return find


def test_a_known_message_has_the_signature_of_the_standard() -> None:
    # The example of the reference libraries, https://github.com/standard-webhooks/standard-webhooks
    headers = signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_verify_what_it_gets_and_nothing_else() -> None:
    secret = new_secret()
    with receiving() as receiver:
        assert send(due(f"{receiver.url}/hook?a=1", secret)) == Tried(204, None)
    ((headers, body),) = receiver.messages
    assert verify(headers, body, secret)["type"] == "job.failed"
    assert headers["content-type"] == "application/json"
    assert headers["host"] == receiver.url.removeprefix("http://")
    for forged in ((headers, body + b" ", secret), ({**headers, "webhook-id": "x"}, body, secret)):
        with pytest.raises(AssertionError):
            verify(*forged)
    with pytest.raises(AssertionError):
        verify(headers, body, new_secret())
    with pytest.raises(AssertionError):  # a copy that somebody sends again much later
        verify(headers, body, secret, now_s=time.time() + 3600)


@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_2xx_is_a_receipt(status: int) -> None:
    with receiving(lambda _: status) as receiver:
        assert send(due(receiver.url)) == Tried(status, None)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410, 429, 500, 503])
def test_anything_else_is_none_and_no_redirect_is_followed(status: int) -> None:
    with receiving(lambda _: status) as receiver:
        tried = send(due(receiver.url))
    assert (tried.status, tried.error, tried.is_gone) == (status, f"it answered {status}", status == 410)
    assert len(receiver.messages) == 1


def test_a_receiver_that_is_not_there_is_told_of_in_a_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        tried = send(due(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert tried.status is None
    assert tried.error is not None
    assert "ConnectError" in tried.error


def test_a_receiver_that_does_not_answer_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began_s = time.monotonic()
        tried = send(due(f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout_s=0.3)
    assert tried == Tried(None, "no answer within 0.3 s")
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]"])
def test_loopback_is_not_reached_by_any_of_its_names(host: str) -> None:
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        tried = send(due(f"http://{host}:{port}/"), allow_private=False)
    assert tried.status is None
    assert receiver.messages == []


@pytest.mark.parametrize("address", ["10.1.2.3", "169.254.169.254", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"])
def test_a_name_that_leads_into_a_private_network_is_not_followed(address: str) -> None:
    tried = send(due("http://example.org/"), allow_private=False, find=leads_to(address))
    assert tried.error is not None
    assert "no public address (SDCN_WEBHOOK_ALLOW_PRIVATE)" in tried.error


def test_it_connects_to_the_address_that_was_checked_under_the_name_that_was_given() -> None:
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        tried = send(due(f"http://example.org:{port}/hook"), find=leads_to("127.0.0.1"))
    assert tried == Tried(204, None)
    assert receiver.messages[0][0]["host"] == f"example.org:{port}"


def test_public_addresses_are_those_of_the_internet() -> None:
    public = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"]
    private = [
        "0.0.0.0",
        "100.64.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "fe80::1",
        "ff02::1",
        "2002:a00::1",
    ]
    assert all(is_public(ipaddress.ip_address(text)) for text in public)
    assert not any(is_public(ipaddress.ip_address(text)) for text in private)
