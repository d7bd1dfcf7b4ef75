import BillingCore
import Foundation
import Postgres
import TestSupport
import Testing
import TurnpikeServer
import Web

@testable import Webhooks

/// Events as mail, through a program that stands in the place of sendmail.
@Suite(.timeLimit(.minutes(15)))
struct MailTests {
    /// A program of one's own, and the folder it writes to.
    private static func withProgram(
        _ script: String,
        _ body: (_ path: String, _ folder: URL) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "mail-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let program = folder.appending(path: "sendmail")
        try "#!/bin/sh\ncd \(folder.path)\n\(script)\n".write(to: program, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program.path)
        try await body(program.path, folder)
    }

    private static func event(_ data: String) throws -> ClaimedDelivery.Event {
        ClaimedDelivery.Event(
            id: try #require(UUIDv7("0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60")),
            type: "budget.threshold_crossed",
            occurredAt: try Instant(parsing: "2026-11-23T08:00:00Z"),
            data: data
        )
    }

    private static func message(_ data: String) throws -> MailMessage {
        MailMessage(
            try event(data),
            from: try #require(MailAddress("turnpike@example.com")),
            to: try #require(MailAddress("ops@example.com")),
            at: try Instant(parsing: "2026-11-23T08:00:05Z")
        )
    }

    @Test("an event is handed to the program with its arguments, and with nothing of our environment")
    func mailIsSubmitted() async throws {
        try await Self.withProgram("cat > mail; echo \"$@\" > arguments; env > environment") { path, folder in
            let from = try #require(MailAddress("turnpike@example.com"))
            try await HookStory.run(configure: { $0.mail = Sendmail(path: path, from: from) }) { server in
                try await server.makeEndpoint("post", "mailto:ops@example.com", #", "kind": "email""#)
                let ids = try await server.tell([.invoicePaid])
                #expect(try await server.deliveries(reach: ["succeeded"]))
                let mail = try String(contentsOf: folder.appending(path: "mail"), encoding: .utf8)
                let parts = mail.split(separator: "\n\n", maxSplits: 1)
                let headers = parts[0].split(separator: "\n").map(String.init)
                #expect(headers.contains("From: turnpike@example.com"))
                #expect(headers.contains("To: ops@example.com"))
                #expect(headers.contains("Date: Mon, 23 Nov 2026 08:00:00 +0000"))
                #expect(headers.contains("Message-ID: <\(ids[0])@example.com>"))
                let subject = Data("Invoice paid (acme)".utf8).base64EncodedString()
                #expect(headers.contains("Subject: =?utf-8?B?\(subject)?="))
                let body = try #require(Data(base64Encoded: String(parts[1]), options: .ignoreUnknownCharacters))
                #expect(String(decoding: body, as: UTF8.self).hasPrefix("tenant: acme\nnumber: INV-1\n"))
                let arguments = try String(contentsOf: folder.appending(path: "arguments"), encoding: .utf8)
                #expect(arguments == "-t -i -f turnpike@example.com\n")
                let environment = try String(contentsOf: folder.appending(path: "environment"), encoding: .utf8)
                #expect(environment.contains("PATH=") && !environment.contains("TURNPIKE"))
            }
        }
    }

    @Test("whom mail is sent to is an operator's choice, also for a tenant's own events")
    func tenantsChooseNoAddress() async throws {
        let from = try #require(MailAddress("turnpike@example.com"))
        try await HookStory.run(configure: { $0.mail = Sendmail(path: "/bin/true", from: from) }) { server in
            let path = "/api/v1/webhook-endpoints"
            let acme = try await server.client([.webhooksRead, .webhooksWrite], tenant: "acme")
            let body = #"{"key": "post", "kind": "email", "url": "mailto:a@b.c", "events": ["*"]}"#
            #expect(try await acme.post(path, body).code == "operator_only")
            try await server.makeEndpoint("post", "mailto:ap@acme.example", #", "kind": "email", "tenant": "acme""#)
            let moved = try await acme.patch("\(path)/post", #"{"url": "mailto:a@b.c"}"#)
            #expect(moved.status == 403 && moved.code == "operator_only")
            #expect(try await acme.patch("\(path)/post", #"{"events": ["invoice.paid"]}"#).status == 200)
            try await server.tell([.invoicePaid])
            #expect(try await server.deliveries(reach: ["succeeded"]))
            let tried = try await acme.post("\(path)/post/test", "{}")
            #expect(tried.status == 403 && tried.code == "operator_only")
            let sent = try await acme.get("/api/v1/deliveries").expecting(200).json["data"]?[0]?["id"]?.string ?? ""
            let again = try await acme.post("/api/v1/deliveries/\(sent)/retry", "{}")
            #expect(again.status == 403 && again.code == "operator_only")
            try await server.operatorClient.post("/api/v1/deliveries/\(sent)/retry", "{}").expecting(202)
            try await server.operatorClient.post("\(path)/post/test?tenant=acme", "{}").expecting(202)
        }
    }

    @Test("a tenant is told nothing of how mail is sent")
    func tenantsSeeNoMailSystem() async throws {
        try await Self.withProgram("echo relay.corp.internal; exit 75") { path, _ in
            let from = try #require(MailAddress("turnpike@example.com"))
            try await HookStory.run(configure: { $0.mail = Sendmail(path: path, from: from) }) { server in
                try await server.makeEndpoint("post", "mailto:ap@acme.example", #", "kind": "email", "tenant": "acme""#)
                try await server.tell([.invoicePaid])
                let statement: SQL = "SELECT error FROM webhook_attempt LIMIT 2"
                #expect(try await eventually { try await server.column(statement).count == 1 })
                #expect(try await server.column(statement) == ["the service could not send it"])
            }
        }
    }

    @Test("a program that fails makes a failed attempt that says why")
    func failuresAreTold() async throws {
        try await Self.withProgram("echo no such user; exit 67") { path, _ in
            let from = try #require(MailAddress("turnpike@example.com"))
            let mail = Sendmail(path: path, from: from)
            let failure = try await #require(throws: Sendmail.Failure.self) {
                try await mail.submit(Self.message("{}"))
            }
            #expect(failure.description == "\(path) ended with 67: no such user\n")
            let absent = Sendmail(path: "/nowhere/sendmail", from: from)
            await #expect(throws: Sendmail.NotRun.self) { try await absent.submit(Self.message("{}")) }
        }
    }

    @Test("what a program says is kept, whatever bytes it says it in")
    func whatFailsIsKept() async throws {
        try await Self.withProgram("printf 'no\\000body\\377'; exit 67") { path, _ in
            let from = try #require(MailAddress("turnpike@example.com"))
            try await HookStory.run(configure: { $0.mail = Sendmail(path: path, from: from) }) { server in
                try await server.makeEndpoint("post", "mailto:ops@example.com", #", "kind": "email""#)
                try await server.tell([.invoicePaid])
                let statement: SQL = "SELECT error FROM webhook_attempt LIMIT 2"
                #expect(try await eventually { try await server.column(statement).count == 1 })
                #expect(try await server.column(statement) == ["\(path) ended with 67: nobody\u{FFFD}"])
            }
        }
    }

    @Test("a program that is not there is not the endpoint's fault")
    func anAbsentProgramBlamesNobody() async throws {
        let from = try #require(MailAddress("turnpike@example.com"))
        let mail = Sendmail(path: "/nowhere/sendmail", from: from)
        try await HookStory.run(configure: { $0.mail = mail }) { server in
            try await server.makeEndpoint("post", "mailto:ops@example.com", #", "kind": "email""#)
            try await server.tell([.invoicePaid])
            let statement: SQL = "SELECT error FROM webhook_attempt LIMIT 2"
            #expect(try await eventually { try await server.column(statement).count == 1 })
            let states = try await server.column("SELECT status || failure_count FROM webhook_delivery LIMIT 2")
            #expect(states == ["pending0"])
            let endpoint = try await server.operatorClient.get("/api/v1/webhook-endpoints/post").json
            #expect(endpoint["failing_since"] == .null)
        }
    }

    @Test("a program that takes too long is ended, with what it has started")
    func slowProgramsAreEnded() async throws {
        try await Self.withProgram("sleep 600 & echo $! > child; wait") { path, folder in
            let from = try #require(MailAddress("turnpike@example.com"))
            let mail = Sendmail(path: path, from: from, timeout: .seconds(1))
            await #expect(throws: Sendmail.Failure.self) { try await mail.submit(Self.message("{}")) }
            let child = try String(contentsOf: folder.appending(path: "child"), encoding: .utf8)
            let number = try #require(Int32(child.trimmingCharacters(in: .whitespacesAndNewlines)))
            #expect(try await eventually { kill(number, 0) != 0 || Self.isZombie(number) })
        }
    }

    private static func isZombie(_ process: Int32) -> Bool {
        let state = (try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)) ?? ""
        return state.contains(") Z ")
    }

    @Test("nothing of an event can become a header, nor a line by itself")
    func headersCannotBeInjected() throws {
        let data = #"{"tenant":"acme\r\nBcc: spy@example.com","note":"x\n.\nBcc: spy@example.com"}"#
        let text = String(decoding: try Self.message(data).bytes, as: UTF8.self)
        #expect(!text.contains("Bcc") && !text.contains("\r") && !text.contains("\n.\n"))
        #expect(text.split(separator: "\n").allSatisfy { $0.utf8.count <= 78 })
    }

    @Test("no value of an event begins a line of a mail, whatever would end one")
    func valuesStayOnTheirLines() throws {
        let data = #"""
            {"tenant":"acme\r\nused: 0","detail":{"limit":"a\nb","user":"u\u2028v\u2029w\u0085x\u000by\u007fz"}}
            """#
        let mail = try Self.message(data)
        #expect(mail.subject == "Budget threshold crossed: a b (acme  used: 0)")
        let expected = """
            limit: a b
            user: u v w x y z
            tenant: acme  used: 0

            event 0193a1c2-6c5e-7f3a-9d61-1b2c3d4e5f60, 2026-11-23T08:00:00.000000Z

            """
        #expect(mail.text == expected)
    }

    @Test(arguments: [
        "ops@example.com\r\nBcc: a@b.c", "a@b.c, d@e.f", "a b@c.d", "\"a\"@b.c", "<a@b.c>", "a@b.c>", "@b.c", "a@", "a",
        "-oQ/tmp@example.com", "a@b..c", "a@b.c\n", "ops@ex\u{E4}mple.com", "a(comment)@b.c", "a@[127.0.0.1]", "",
    ])
    func whatIsNoPlainAddressIsRefused(_ text: String) {
        #expect(MailAddress(text) == nil)
        #expect(MailAddress(mailto: "mailto:\(text)") == nil)
    }

    @Test(arguments: ["ops@example.com", "first.last+tag@mail.example-1.org", "o'neil@example.com", "ops@localhost"])
    func aPlainAddressIsOne(_ text: String) {
        #expect(MailAddress(mailto: "mailto:\(text)")?.description == text)
    }
}
