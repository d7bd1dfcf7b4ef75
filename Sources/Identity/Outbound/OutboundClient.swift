import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Web

/// Speaks with a URL that somebody configured. The name is resolved once, the address is judged, and the connection
/// goes to that very address with the name in `Host` and in TLS: a name that resolves differently a moment later
/// changes nothing.
/// Redirects are not followed; the answer is bounded in size and time.
///
/// Each call is on behalf of an owner, who is whoever chose the URL: names that hang are that owner's trouble, and not
/// that of others (`LookupThreads`).
package struct OutboundClient: Sendable {
    private typealias Exchange<Outcome> = @Sendable (OutboundURL, HTTPClient) async throws -> Outcome

    private let addresses: OutboundGuard
    private let timeout: TimeAmount
    private let lookups: LookupThreads

    /// - Parameters:
    ///   - timeoutSeconds: for all of a call, from the name to the last byte of the answer.
    ///   - lookups: how many names may be looked up at a time. They are this client's own, and a lookup may take longer
    ///     than the call it is for: more than there are calls at a time.
    package init(addresses: OutboundGuard, timeoutSeconds: Int64 = 5, lookups: Int = 32) {
        self.addresses = addresses
        timeout = .seconds(timeoutSeconds)
        self.lookups = LookupThreads(limit: lookups)
    }

    /// The body of a 200. Plain HTTP is spoken only with addresses that the operator has allowed by name.
    package func get(
        _ text: String,
        for owner: String,
        accept: String,
        limitBytes: Int
    ) async throws(OutboundFault) -> [UInt8] {
        try await inTime(try OutboundURL(text), for: owner) { url, client in
            let request = Self.request(.GET, url, headers: [("Accept", accept)])
            let response = try await client.execute(request, timeout: timeout)
            guard response.status == .ok else { throw OutboundFault.status(Int(response.status.code)) }
            do {
                return Array(buffer: try await response.body.collect(upTo: limitBytes))
            } catch is NIOTooManyBytesError {
                throw OutboundFault.tooLarge(limitBytes: limitBytes)
            }
        }
    }

    /// Sends a body and takes whatever status comes back, with the beginning of the answer; the rest is not read.
    package func post(
        _ text: String,
        for owner: String,
        headers: [(String, String)],
        body: [UInt8],
        excerptBytes: Int
    ) async throws(OutboundFault) -> OutboundAnswer {
        try await inTime(try OutboundURL(text), for: owner, readingFor: Self.excerptPatience) { url, client in
            var request = Self.request(.POST, url, headers: headers)
            request.body = .bytes(body)
            let response = try await client.execute(request, timeout: timeout)
            // What came of it is known now; what the body does from here on changes nothing.
            let excerpt = await Self.beginning(of: response.body, bytes: excerptBytes)
            return OutboundAnswer(status: Int(response.status.code), excerpt: excerpt)
        }
    }

    private static let excerptPatience = TimeAmount.seconds(1)

    /// As much of a body as comes soon; one that breaks off has what came before.
    private static func beginning(of body: HTTPClientResponse.Body, bytes: Int) async -> [UInt8] {
        let excerpt = Excerpt()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do {
                    for try await part in body {
                        if excerpt.append(part.readableBytesView, upTo: bytes) == bytes { break }
                    }
                } catch {}
            }
            group.addTask { try? await Task.sleep(for: .nanoseconds(excerptPatience.nanoseconds)) }
            await group.next()
            group.cancelAll()
        }
        return excerpt.bytes
    }

    /// One deadline is for all of it, from the name to the last byte of the body. What can't be cancelled, such as a
    /// name being resolved, is left to end by itself.
    /// - Parameter patience: how long after its deadline the exchange still reads an answer that has begun.
    private func inTime<Outcome: Sendable>(
        _ url: OutboundURL,
        for owner: String,
        readingFor patience: TimeAmount = .zero,
        _ exchange: @escaping Exchange<Outcome>
    ) async throws(OutboundFault) -> Outcome {
        let (outcomes, first) = AsyncStream.makeStream(of: Result<Outcome, OutboundFault>.self)
        let speaking = Task {
            do throws(OutboundFault) {
                first.yield(.success(try await self.speak(with: url, for: owner, exchange)))
            } catch {
                first.yield(.failure(error))
            }
        }
        let alarm = Task {
            try await Task.sleep(for: .nanoseconds((timeout + patience).nanoseconds))
            first.yield(.failure(.unanswered("it was not complete in time")))
        }
        defer {
            speaking.cancel()
            alarm.cancel()
        }
        for await outcome in outcomes { return try outcome.get() }
        throw .unanswered("nobody waits for it any more")
    }

    private func speak<Outcome: Sendable>(
        with url: OutboundURL,
        for owner: String,
        _ exchange: @escaping Exchange<Outcome>
    ) async throws(OutboundFault) -> Outcome {
        let address = try await address(of: url, for: owner)
        if let refusal = url.refusal(at: address, by: addresses) { throw refusal }
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(connect: timeout, read: timeout)
        )
        configuration.dnsOverride = [url.host: address.description]
        configuration.httpVersion = .http1Only
        configuration.http1_1ConnectionDebugInitializer = { channel in
            channel.eventLoop.submit {
                // Whatever the client made of the URL: nothing is sent to an address that was not judged.
                guard channel.remoteAddress?.ipAddress.flatMap({ IPAddress($0) }) == address else {
                    throw OutboundFault.refused(url.host)
                }
                try StatusGuard.add(to: channel)
            }
        }
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let outcome: Result<Outcome, any Error>
        do {
            outcome = .success(try await exchange(url, client))
        } catch {
            outcome = .failure(error)
        }
        // A peer that does not answer the end of TLS is waited for by nobody.
        Task { try? await client.shutdown() }
        switch outcome {
        case .success(let value): return value
        case .failure(let fault as OutboundFault): throw fault
        case .failure(let error): throw .unanswered("\(error)")
        }
    }

    private static func request(
        _ method: HTTPMethod,
        _ url: OutboundURL,
        headers: [(String, String)]
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url.text)
        request.method = method
        request.headers = HTTPHeaders(headers + [("User-Agent", "turnpike")])
        return request
    }

    /// The first address of the name, if all of them may be reached: a name that also leads inside is not trusted.
    private func address(of url: OutboundURL, for owner: String) async throws(OutboundFault) -> IPAddress {
        guard let found = await lookups.run(for: owner, { Self.addresses(of: url.host) }) else {
            throw .notLookedUp(url.host)
        }
        for address in found where !addresses.permits(address) { throw .refused(url.host) }
        guard let first = found.first(where: \.isIPv4) ?? found.first else { throw .unresolved(url.host) }
        return first
    }

    /// Waits for name servers as long as the system does. Empty when the name has no address.
    private static func addresses(of host: String) -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [IPAddress] = []
        var next = list
        while let entry = next {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let code = getnameinfo(
                entry.pointee.ai_addr,
                entry.pointee.ai_addrlen,
                &text,
                socklen_t(text.count),
                nil,
                0,
                NI_NUMERICHOST
            )
            let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            // An address that can't be read, such as one with a zone, counts as one that is not permitted.
            addresses.append(code == 0 ? IPAddress(name) ?? .unspecified : .unspecified)
            next = entry.pointee.ai_next
        }
        return addresses
    }
}

/// As much of a body as has been read.
private final class Excerpt: Sendable {
    private let read = Mutex<[UInt8]>([])

    var bytes: [UInt8] { read.withLock { $0 } }

    /// - Returns: how many bytes there are.
    func append(_ part: ByteBufferView, upTo limit: Int) -> Int {
        read.withLock { read in
            read.append(contentsOf: part.prefix(limit - read.count))
            return read.count
        }
    }
}

/// What a URL said to what was sent there.
package struct OutboundAnswer: Sendable {
    package let status: Int
    /// The beginning of its body.
    package let excerpt: [UInt8]
}

/// A URL that may be configured: http or https, a host, no user.
package struct OutboundURL: Sendable, Equatable {
    package let text: String
    package let isEncrypted: Bool
    let host: String

    package init(_ text: String) throws(OutboundFault) {
        guard text.utf8.count <= 2_000, let components = URLComponents(string: text),
            let scheme = components.scheme?.lowercased()
        else { throw .malformed("it must be a URL of at most 2,000 bytes, such as \"https://example.com/hook\"") }
        guard ["http", "https"].contains(scheme) else { throw .malformed("it must begin with \"https://\"") }
        guard components.user == nil, components.password == nil, components.fragment == nil else {
            throw .malformed("it must be without user, password and fragment")
        }
        // As it is written, which is what the client connects to: `host` would show a name of another script decoded.
        guard let written = components.encodedHost, let authority = Self.authority(of: text),
            Self.isPlain(authority)
        else { throw .malformed(Self.plainHost) }
        let isBracketed = written.hasPrefix("[") && written.hasSuffix("]")
        let host = isBracketed ? String(written.dropFirst().dropLast()) : written
        guard !host.isEmpty else { throw .malformed(Self.plainHost) }
        self.text = text
        self.host = host
        isEncrypted = scheme == "https"
    }

    private static let plainHost =
        "its host must be written in letters, digits, dots and hyphens (one of another script as \"xn--...\"), and its "
        + "port, if any, be one from 1 to 65535"

    /// Why it can never be reached; nil where that can't be told before its name is looked up.
    package func refusal(by addresses: OutboundGuard) -> OutboundFault? {
        guard let address = IPAddress(host) else {
            return isEncrypted || addresses.allowsSome ? nil : .unencrypted
        }
        return refusal(at: address, by: addresses)
    }

    /// Why an address that its host has is not spoken with; nil where it may be.
    fileprivate func refusal(at address: IPAddress, by addresses: OutboundGuard) -> OutboundFault? {
        guard addresses.permits(address) else { return .refused(host) }
        return isEncrypted || addresses.isAllowed(address) ? nil : .unencrypted
    }

    private static func authority(of text: String) -> Substring? {
        guard let start = text.firstRange(of: "://")?.upperBound else { return nil }
        return text[start...].prefix { !"/?#".contains($0) }
    }

    /// Whether the host is written in letters, digits and what separates them: one with escapes or of another script
    /// could be one name to who judges it and another to who connects. And whether the port, if there is one, is one
    /// that there can be: what connects takes any other for a fault of the program.
    private static func isPlain(_ authority: Substring) -> Bool {
        let isPlain = authority.utf8.allSatisfy { byte in
            let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
            return isLetter || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || ".:-[]".utf8.contains(byte)
        }
        let port = authority.split(separator: "]", omittingEmptySubsequences: false).last?
            .split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first
        guard isPlain, let port else { return isPlain }
        return UInt16(port).map { $0 > 0 } ?? false
    }
}

/// Why a configured URL could not be read. The texts name nothing of the answer, which may come from inside.
package enum OutboundFault: Error, Equatable, CustomStringConvertible {
    /// With what it must be.
    case malformed(String)
    case unencrypted
    /// Too many other names were being looked up for the same owner, or at all.
    case notLookedUp(String)
    case unresolved(String)
    case refused(String)
    case status(Int)
    case tooLarge(limitBytes: Int)
    case unanswered(String)

    /// Whether nothing was tried, so that it says nothing of the URL.
    package var isLocal: Bool {
        if case .notLookedUp = self { true } else { false }
    }

    package var description: String {
        switch self {
        case .malformed(let requirement): requirement
        case .unencrypted: "http is possible only to addresses in TURNPIKE_OUTBOUND_ALLOW"
        case .notLookedUp(let host): "'\(host)' was not looked up: too many lookups are under way"
        case .unresolved(let host): "'\(host)' has no address"
        case .refused(let host): "'\(host)' is at an address that is not public and not in TURNPIKE_OUTBOUND_ALLOW"
        case .status(let code): "the answer was \(code) and not 200"
        case .tooLarge(let limitBytes): "the answer has more than \(limitBytes) bytes"
        case .unanswered(let reason): "there was no answer: \(reason)"
        }
    }
}
