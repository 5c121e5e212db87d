# A real SMTP server for tests/mail.rs: aiosmtpd on a port of its own choice.
# Usage: smtp-sink.py OUT-DIRECTORY [CERTIFICATE KEY [tls]]
# With a certificate STARTTLS and AUTH are required; with the word `tls` it is spoken from the first byte.
# Prints its port. Refuses gone@ for good (550), later@ for now (451); writes the rest to OUT-DIRECTORY.
import ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

out, count = sys.argv[1], 0


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such user here"
        if address.startswith("later@"):
            return "451 4.7.1 greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        count += 1
        with open(f"{out}/{count:03}.eml", "wb") as file:
            file.write(envelope.content)
        with open(f"{out}/{count:03}.env", "w") as file:
            user = session.auth_data.login.decode() if session.auth_data else "-"
            file.write(f"from={envelope.mail_from} to={envelope.rcpt_tos} tls={session.ssl is not None or 'tls' in sys.argv} user={user}\n")
        return "250 OK"


def login(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.login == b"ci" and data.password == b"s3cret"
    return AuthResult(success=good, handled=False, auth_data=data if good else None)


more = {}
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    more = dict(ssl_context=context)
    if len(sys.argv) < 5:
        more = dict(tls_context=context, require_starttls=True, auth_required=True, authenticator=login, auth_require_tls=True)


class AnyPort(Controller):
    def _trigger_server(self):
        # The base class connects to the port that was asked for; ours is only known once it is bound.
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


controller = AnyPort(Handler(), hostname="127.0.0.1", port=0, **more)
controller.start()
print(controller.server.sockets[0].getsockname()[1], flush=True)
while True:
    time.sleep(60)
