import Foundation
import Synchronization
import TestSupport
import Testing
import Web

@testable import Identity

@Suite struct OutboundTests {
    private static let inside = [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
        "169.254.169.254", "198.18.0.1", "192.0.2.1", "224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1",
        "::1", "::", "fe80::1", "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1", "fec0::1",
    ]

    /// - Parameter found: the addresses of whatever name; those that the system knows where it is nil.
    private static func client(timeoutSeconds: Int64 = 60, found: [String]? = nil) throws -> OutboundClient {
        guard let found = try found?.map({ try #require(IPAddress($0)) }) else {
            let addresses = OutboundGuard(allowed: [try #require(AddressRange("127.0.0.1"))])
            return OutboundClient(addresses: addresses, timeoutSeconds: timeoutSeconds)
        }
        let addresses = OutboundGuard(allowed: [try #require(AddressRange("127.0.0.0/8"))])
        return OutboundClient(addresses: addresses, timeoutSeconds: timeoutSeconds) { _ in found }
    }

    @Test(arguments: inside)
    func whatIsNotPublicIsRefused(_ text: String) throws {
        #expect(!OutboundGuard().permits(try #require(IPAddress(text))))
    }

    /// The resolver answered that there is no such name, or it did not answer.
    @Test(arguments: [
        (EAI_NONAME, false), (-5, false), (EAI_AGAIN, true), (EAI_FAIL, true), (EAI_MEMORY, true), (EAI_SYSTEM, true),
    ])
    func aNameIsBlamedForWhatIsKnownOfIt(_ code: Int32, isOfResolver: Bool) {
        #expect(OutboundClient.isFaultOfResolver(code) == isOfResolver)
        #expect(OutboundFault.resolverFailed("a").isLocal && !OutboundFault.unresolved("a").isLocal)
    }

    @Test(arguments: ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
    func whatIsPublicIsPermitted(_ text: String) throws {
        #expect(OutboundGuard().permits(try #require(IPAddress(text))))
    }

    @Test func whatTheOperatorAllowsIsPermitted() throws {
        let addresses = OutboundGuard(allowed: [try #require(AddressRange("10.1.0.0/16"))])
        #expect(addresses.permits(try #require(IPAddress("10.1.2.3"))))
        #expect(!addresses.permits(try #require(IPAddress("10.2.2.3"))))
    }

    /// Every way of writing the loopback address, and names for it.
    @Test(arguments: [
        "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://017700000001/",
        "https://localhost/", "https://LOCALHOST/", "https://[::1]/", "https://[::ffff:7f00:1]/", "https://0/",
        "https://169.254.169.254/latest/meta-data/", "https://[fe80::1]/",
    ])
    func theAddressBehindANameIsWhatCounts(_ url: String) async throws {
        let client = OutboundClient(addresses: OutboundGuard(), timeoutSeconds: 2)
        do {
            _ = try await client.get(url, for: "acme", accept: "*/*", limitBytes: 100)
            Issue.record("\(url) was read")
        } catch {
            let isRefused = if case .refused = error { true } else { false }
            #expect(isRefused, "\(url): \(error)")
        }
    }

    @Test func aNameOfAnotherScriptIsTheOneThatIsWritten() throws {
        #expect(try OutboundURL("https://xn--bcher-kva.example:8443/a").host == "xn--bcher-kva.example")
    }

    @Test(arguments: [
        ("https://10.0.0.1/", OutboundFault.refused("10.0.0.1")), ("https://[::1]/", .refused("::1")),
        ("http://8.8.8.8/", .unencrypted), ("http://example.com/", .unencrypted),
    ])
    func whatCanNeverBeReachedIsToldBefore(_ url: String, _ fault: OutboundFault) throws {
        #expect(try OutboundURL(url).refusal(by: OutboundGuard()) == fault)
    }

    @Test(arguments: ["https://10.1.2.3/", "http://10.1.2.3/", "https://8.8.8.8/", "http://example.com/"])
    func whatMayBeReachedIsNot(_ url: String) throws {
        let addresses = OutboundGuard(allowed: [try #require(AddressRange("10.1.0.0/16"))])
        #expect(try OutboundURL(url).refusal(by: addresses) == nil)
    }

    @Test(arguments: [
        "ftp://example.com/", "file:///etc/passwd", "https://", "https://user@example.com/", "https://a:b@example.com/",
        "https://example.com/#a", "example.com", "https:///path", "gopher://127.0.0.1:6379/_FLUSHALL",
        "https://b\u{FC}cher.example/", "https://127%2e0.0.1/", "https://ex\u{FF0E}ample/",
        "https://127.0.0.1%00.example/",
        "https://example.com:65536/", "https://example.com:70000/", "https://example.com:0/", "https://example.com:-1/",
        "https://example.com:99999999999999999999/", "https://127.0.0.1:70000/", "https://[]/", "https://[]:443/",
        "https://[fe80::1%25eth0]/", "https://example.com\\@127.0.0.1/", "https://%6c%6fcalhost/",
    ])
    func whatIsNoPlainURLIsMalformed(_ url: String) {
        let fault = #expect(throws: OutboundFault.self) { try OutboundURL(url) }
        let isMalformed = if case .malformed = fault { true } else { false }
        #expect(isMalformed, "\(url)")
    }

    @Test(arguments: [
        "https://example.com/a b", "https://example.com/a\r\nX-Injected: y", "https://example.com/\u{FC}",
        "https://example.com/{id}", "https://10.1/", "https://0xa000001/", "https://127.1/", "https://2130706433/",
        "https://0x7f.0.0.1/", "https://017700000001/", "https://0/", "https://167772161/", "https://169.254.43518/",
        "https://0x7f.1/", "https://1.2.3.4.5/", "https://127.0.0.01./",
    ])
    func whatIsNotWhatItSeemsIsNotConfigured(_ text: String) throws {
        let fault = try OutboundURL(text).refusal(by: OutboundGuard())
        let isMalformed = if case .malformed = fault { true } else { false }
        #expect(isMalformed, "\(text)")
    }

    @Test(arguments: [
        "https://keys.Example-1.com:8443/a%20b?c=d", "http://[::1]:80/", "https://127.0.0.1",
        "https://example.com:65535", "https://7.example/", "https://example.0x7f.net/",
    ])
    func aPlainURLIsOne(_ url: String) throws {
        #expect(try OutboundURL(url).text == url)
    }

    @Test func theRequestGoesToTheCheckedAddressUnderTheNameOfTheURL() async throws {
        let server = try OneAnswerServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        let addresses = OutboundGuard(allowed: [
            try #require(AddressRange("127.0.0.0/8")), try #require(AddressRange("::1")),
        ])
        let client = OutboundClient(addresses: addresses, timeoutSeconds: 60)
        let url = "http://localhost:\(server.port)/keys"
        let body = try await client.get(url, for: "acme", accept: "*/*", limitBytes: 100)
        #expect(body == Array("{}".utf8))
        #expect(server.request.contains("GET /keys HTTP/1.1"))
        #expect(server.request.lowercased().contains("host: localhost:\(server.port)"))
    }

    @Test(arguments: [
        (String(repeating: "HTTP/1.1 103 Early\r\n\r\n", count: 9), "it had informational answers only"),
        ("HTTP/1.1 200 " + String(repeating: "a", count: 200_000), "its head was too long"),
    ])
    func anAnswerThatOnlyBeginsEnds(_ answer: String, _ reason: String) async throws {
        let server = try OneAnswerServer(answer: answer)
        let client = try Self.client()
        await #expect(throws: OutboundFault.unanswered(reason)) {
            try await client.get("http://127.0.0.1:\(server.port)/", for: "acme", accept: "*/*", limitBytes: 100)
        }
    }

    @Test func someInformationalAnswersAreReadOver() async throws {
        let early = String(repeating: "HTTP/1.1 103 Early\r\n\r\n", count: 8)
        let server = try OneAnswerServer(answer: early + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        let client = try Self.client()
        let url = "http://127.0.0.1:\(server.port)/"
        #expect(try await client.get(url, for: "acme", accept: "*/*", limitBytes: 100) == Array("{}".utf8))
    }

    /// Nothing listens at the addresses before.
    @Test func theNextAddressIsTriedWhereNoConnectionComesAbout() async throws {
        let client = try Self.client(found: ["127.0.0.3", "127.0.0.2", "127.0.0.1"])
        let server = try OneAnswerServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        let url = "http://name.example:\(server.port)/keys"
        #expect(try await client.get(url, for: "acme", accept: "*/*", limitBytes: 100) == Array("{}".utf8))
    }

    @Test func whatWasSentToOneAddressIsNotSentToTheNext() async throws {
        let client = try Self.client(found: ["127.0.0.1", "127.0.0.2"])
        let server = try OneAnswerServer(answer: "220 mail.example ESMTP\r\n\r\n")
        await #expect(throws: OutboundFault.unanswered("it was not HTTP")) {
            _ = try await client.post(
                "http://name.example:\(server.port)/",
                for: "acme",
                headers: [],
                body: [1],
                excerptBytes: 100
            )
        }
    }

    @Test func aNameOfWhichOneAddressIsInsideIsNotTrusted() async throws {
        let client = try Self.client(found: ["127.0.0.1", "10.0.0.1"])
        let server = try OneAnswerServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await #expect(throws: OutboundFault.refused("name.example")) {
            try await client.get("http://name.example:\(server.port)/", for: "acme", accept: "*/*", limitBytes: 100)
        }
    }

    @Test(arguments: ["099", "000", "042"])
    func aStatusThatThereIsNotIsNoAnswer(_ status: String) async throws {
        for rest in ["Content-Length: 0\r\n\r\n", "Content-Length: 2\r\n\r\n{}", "\r\nHTTP/1.1 200 OK\r\n\r\n"] {
            let server = try OneAnswerServer(answer: "HTTP/1.1 \(status) x\r\n\(rest)")
            let client = try Self.client()
            let fault = await #expect(throws: OutboundFault.self) {
                try await client.get("http://127.0.0.1:\(server.port)/", for: "acme", accept: "*/*", limitBytes: 100)
            }
            #expect("\(fault, default: "none")".contains("a status of \(Int(status) ?? 0)"))
        }
    }

    @Test(arguments: [
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", OutboundFault.status(302)),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", .status(500)),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + String(repeating: "a", count: 300),
            .tooLarge(limitBytes: 100)
        ),
    ])
    func onlyA200OfBoundedSizeCounts(_ answer: String, _ fault: OutboundFault) async throws {
        let server = try OneAnswerServer(answer: answer)
        let client = try Self.client()
        await #expect(throws: fault) {
            try await client.get("http://127.0.0.1:\(server.port)/", for: "acme", accept: "*/*", limitBytes: 100)
        }
    }

    @Test func whyThereIsNoAnswerIsToldInPlainWords() async throws {
        let client = try Self.client()
        func reason(_ scheme: String, _ port: Int) async -> String {
            let fault = await #expect(throws: OutboundFault.self) {
                try await client.get("\(scheme)://127.0.0.1:\(port)/", for: "acme", accept: "*/*", limitBytes: 100)
            }
            return "\(fault, default: "none")"
        }
        let plain = try OneAnswerServer(answer: "HTTP/1.1 200 OK\r\n\r\n")
        #expect(await reason("https", plain.port) == "there was no answer: it does not speak TLS")
        let other = try OneAnswerServer(answer: "220 mail.example ESMTP\r\n\r\n")
        #expect(await reason("http", other.port) == "there was no answer: it was not HTTP")
    }

    @Test("a refused connection is not tried again until the time is up", .timeLimit(.minutes(2)))
    func refusedConnection() async throws {
        let client = try Self.client(timeoutSeconds: 600)
        let port = try TestTools.freePort()
        await #expect(throws: OutboundFault.unanswered("the connection was refused")) {
            try await client.get("http://127.0.0.1:\(port)/", for: "acme", accept: "*/*", limitBytes: 100)
        }
    }

    @Test func anAnswerThatDoesNotComeIsGivenUp() async throws {
        let server = try OneAnswerServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")
        let client = try Self.client(timeoutSeconds: 1)
        await #expect(throws: OutboundFault.self) {
            try await client.get("http://127.0.0.1:\(server.port)/", for: "acme", accept: "*/*", limitBytes: 100)
        }
    }

    @Test func anAnswerThatDripsIsGivenUp() async throws {
        let server = try DrippingServer(bytes: 200)
        let client = try Self.client(timeoutSeconds: 1)
        await #expect(throws: OutboundFault.unanswered("it was not complete in time")) {
            try await client.get("http://127.0.0.1:\(server.port)/", for: "acme", accept: "*/*", limitBytes: 1_000)
        }
        #expect(try await eventually { server.isLeft }, "the connection is closed")
    }

    @Test func aStatusThatCameCountsWhateverBecomesOfTheBody() async throws {
        let client = try Self.client()
        func post(_ port: Int) async throws -> OutboundAnswer {
            try await client.post("http://127.0.0.1:\(port)/", for: "acme", headers: [], body: [], excerptBytes: 100)
        }
        let dripping = try DrippingServer(bytes: 200)
        #expect(try await post(dripping.port).status == 200)
        #expect(try await eventually { dripping.isLeft }, "the connection is closed")
        let breaking = try OneAnswerServer(answer: "HTTP/1.1 410 Gone\r\nContent-Length: 50\r\n\r\nit is")
        let gone = try await post(breaking.port)
        #expect(gone.status == 410 && gone.excerpt == Array("it is".utf8))
    }
}

/// Answers a request with the head of a 200 and then a byte every tenth of a second, on one connection.
private final class DrippingServer: Sendable {
    let port: Int
    private let left = Mutex(false)

    init(bytes: Int) throws {
        // Written out, because the members of the C types belong to a module of NIO's here: a stream socket, and the
        // loopback address with a port of the system's choice.
        let listening = socket(AF_INET, 1, 0)
        var address: [UInt8] = [UInt8(AF_INET), 0, 0, 0, 127, 0, 0, 1] + Array(repeating: 0, count: 8)
        var length = UInt32(address.count)
        let code = address.withUnsafeMutableBytes { bytes in
            let pointer = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress
            let bound = bind(listening, pointer, length)
            return bound == 0 ? getsockname(listening, pointer, &length) : bound
        }
        guard code == 0, listen(listening, 1) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        port = Int(address[2]) << 8 | Int(address[3])
        Thread.detachNewThread {
            let connection = accept(listening, nil, nil)
            close(listening)
            Task { try await self.drip(connection, bytes) }
        }
    }

    /// Whether the client went before it had everything.
    var isLeft: Bool { left.withLock { $0 } }

    private func drip(_ connection: Int32, _ bytes: Int) async throws {
        // What comes before the request finds a client that does not listen yet.
        var first: UInt8 = 0
        while recv(connection, &first, 1, Int32(MSG_DONTWAIT)) != 1 { try await Task.sleep(for: .milliseconds(5)) }
        defer { close(connection) }
        let head = Array("HTTP/1.1 200 OK\r\nContent-Length: \(bytes)\r\n\r\n".utf8)
        _ = send(connection, head, head.count, Int32(MSG_NOSIGNAL))
        for _ in 0..<bytes {
            guard send(connection, [UInt8(ascii: "a")], 1, Int32(MSG_NOSIGNAL)) == 1 else {
                return left.withLock { $0 = true }
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
