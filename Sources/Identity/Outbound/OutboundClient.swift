import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
package import Web

/// Speaks with a URL that somebody configured. The name is resolved once, its addresses are judged, and the connection
/// goes to one of these very addresses with the name in `Host` and in TLS: a name that resolves differently a moment
/// later changes nothing. Where no connection comes about, the next address is tried.
/// Redirects are not followed; the answer is bounded in size and time.
///
/// Each call is on behalf of an owner, who is whoever chose the URL: names that hang are that owner's trouble, and not
/// that of others (`LookupThreads`).
package struct OutboundClient: Sendable {
    package typealias LookUp = @Sendable (_ host: String) throws(OutboundFault) -> [IPAddress]
    private typealias Exchange<Outcome> = @Sendable (OutboundURL, HTTPClient, NIODeadline) async throws -> Outcome

    private let addresses: OutboundGuard
    private let timeout: TimeAmount
    private let lookups: LookupThreads
    private let lookUp: LookUp

    /// - Parameters:
    ///   - timeoutSeconds: for all of a call, from the name to the last byte of the answer.
    ///   - lookups: how many names may be looked up at a time. They are this client's own, and a lookup may take longer
    ///     than the call it is for: more than there are calls at a time.
    ///   - lookUp: the addresses of a name, as the system knows them, none where it has none; it may block.
    package init(
        addresses: OutboundGuard,
        timeoutSeconds: Int64 = 5,
        lookups: Int = 32,
        lookUp: @escaping LookUp = { host throws(OutboundFault) in try OutboundClient.systemAddresses(of: host) }
    ) {
        self.addresses = addresses
        timeout = .seconds(timeoutSeconds)
        self.lookups = LookupThreads(limit: lookups)
        self.lookUp = lookUp
    }

    /// The body of a 200. Plain HTTP is spoken only with addresses that the operator has allowed by name.
    package func get(
        _ text: String,
        for owner: String,
        accept: String,
        limitBytes: Int
    ) async throws(OutboundFault) -> [UInt8] {
        try await inTime(try OutboundURL(text), for: owner) { url, client, deadline in
            let request = Self.request(.GET, url, headers: [("Accept", accept)])
            let response = try await client.execute(request, deadline: deadline)
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
        try await inTime(try OutboundURL(text), for: owner, readingFor: Self.excerptPatience) { url, client, deadline in
            var request = Self.request(.POST, url, headers: headers)
            request.body = .bytes(body)
            let response = try await client.execute(request, deadline: deadline)
            // What came of it is known now; what the body does from here on changes nothing.
            let excerpt = await Self.beginning(of: response.body, bytes: excerptBytes)
            return OutboundAnswer(status: Int(response.status.code), excerpt: excerpt)
        }
    }

    private static let excerptPatience = TimeAmount.seconds(1)
    /// How much later a call is given up than its own bounds end it, so that what those come to is what counts.
    private static let grace = TimeAmount.seconds(1)

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
        let deadline = NIODeadline.now() + timeout
        let (outcomes, first) = AsyncStream.makeStream(of: Result<Outcome, OutboundFault>.self)
        let speaking = Task {
            do throws(OutboundFault) {
                first.yield(.success(try await self.speak(with: url, for: owner, until: deadline, exchange)))
            } catch {
                first.yield(.failure(error))
            }
        }
        let alarm = Task {
            try await Task.sleep(for: .nanoseconds((timeout + patience + Self.grace).nanoseconds))
            first.yield(.failure(.late))
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
        until deadline: NIODeadline,
        _ exchange: @escaping Exchange<Outcome>
    ) async throws(OutboundFault) -> Outcome {
        let candidates = try await candidates(of: url, for: owner)
        var fault: OutboundFault?
        for (tried, address) in candidates.enumerated() {
            let rest = (deadline - .now()).nanoseconds
            let patience = TimeAmount.nanoseconds(tried == candidates.count - 1 ? rest : rest / 2)
            let connection = Connection(to: address, of: url.host)
            do {
                return try await speak(with: url, over: connection, connectingFor: patience, until: deadline, exchange)
            } catch {
                guard !connection.isMade else { throw error }
                fault = fault ?? error
            }
        }
        throw fault ?? .unresolved(url.host)
    }

    private func speak<Outcome: Sendable>(
        with url: OutboundURL,
        over connection: Connection,
        connectingFor patience: TimeAmount,
        until deadline: NIODeadline,
        _ exchange: @escaping Exchange<Outcome>
    ) async throws(OutboundFault) -> Outcome {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(connect: patience, read: timeout)
        )
        configuration.dnsOverride = [url.host: connection.address.description]
        configuration.httpVersion = .http1Only
        // Whoever called tries again, later: the client would until its time is up.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.http1_1ConnectionDebugInitializer = { channel in
            channel.eventLoop.submit {
                try connection.judge(channel)
                try StatusGuard.add(to: channel)
            }
        }
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let outcome: Result<Outcome, any Error>
        do {
            outcome = .success(try await exchange(url, client, deadline))
        } catch {
            outcome = .failure(error)
        }
        // A peer that does not answer the end of TLS is waited for by nobody.
        Task { try? await client.shutdown() }
        switch outcome {
        case .success(let value): return value
        case .failure(let error): throw OutboundFault(error)
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

    /// The first addresses of the name that the URL may be spoken with at, if all of the name may be reached: one that
    /// also leads inside is not trusted.
    private func candidates(of url: OutboundURL, for owner: String) async throws(OutboundFault) -> [IPAddress] {
        let lookup = await lookups.run(for: owner) {
            Result { () throws(OutboundFault) in try lookUp(url.host) }
        }
        guard let found = try lookup?.get() else { throw .notLookedUp(url.host) }
        for address in found where !addresses.permits(address) { throw .refused(url.host) }
        let first = (found.filter(\.isIPv4) + found.filter { !$0.isIPv4 }).prefix(Self.mostAddresses)
        let candidates = first.filter { url.refusal(at: $0, by: addresses) == nil }
        guard candidates.isEmpty else { return candidates }
        throw first.first.flatMap { url.refusal(at: $0, by: addresses) } ?? .unresolved(url.host)
    }

    /// More of a name's are not tried.
    private static let mostAddresses = 4

    /// Whether `getaddrinfo` could not find out if a name has addresses (RFC 3493, section 6.1).
    static func isFaultOfResolver(_ code: Int32) -> Bool {
        [EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_SYSTEM].contains(code)
    }

    /// Waits for name servers as long as the system does. Empty when the name has no address.
    private static func systemAddresses(of host: String) throws(OutboundFault) -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard !isFaultOfResolver(code) else { throw .resolverFailed(host) }
        guard code == 0 else { return [] }
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

/// A connection to an address that was judged.
private final class Connection: Sendable {
    let address: IPAddress
    private let host: String
    private let made = Mutex(false)

    init(to address: IPAddress, of host: String) {
        self.address = address
        self.host = host
    }

    /// Whether something may have been sent.
    var isMade: Bool { made.withLock { $0 } }

    /// Whatever the client made of the URL: nothing is sent to an address that was not judged.
    func judge(_ channel: any Channel) throws {
        made.withLock { $0 = true }
        guard channel.remoteAddress?.ipAddress.flatMap({ IPAddress($0) }) == address else {
            throw OutboundFault.refused(host)
        }
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
