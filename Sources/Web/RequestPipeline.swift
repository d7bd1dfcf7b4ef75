import BillingCore
import HTTPTypes
import Hummingbird
package import Logging
import NIOCore

/// What a caller shows to say who it is.
package enum PresentedCredential: Sendable {
    case bearer(String)
    case apiKey(String)
}

/// Turns what was presented, by a caller at an address and for an operation, into a principal, or throws the 401 or
/// 429.
package typealias Authenticator = @Sendable (PresentedCredential, IPAddress, Operation) async throws -> Principal

/// What happens around every handler: request id, authentication, scope, media type, body limit, the tenant's place at
/// the database; afterwards the rendering of problems, security headers, log and metrics. It is one function in one
/// order, so that no operation can be registered without it.
package struct RequestPipeline: Sendable {
    let authenticate: Authenticator
    let addresses: ClientAddresses
    let securityHeaders: SecurityHeaders
    let places: TenantPlaces
    let clock: Clock
    let ids: IDSource
    let logger: Logger

    package init(
        authenticate: @escaping Authenticator,
        addresses: ClientAddresses = ClientAddresses(),
        isTLS: Bool = false,
        places: TenantPlaces,
        clock: Clock,
        ids: IDSource,
        logger: Logger
    ) {
        self.authenticate = authenticate
        self.addresses = addresses
        securityHeaders = SecurityHeaders(isTLS: isTLS)
        self.places = places
        self.clock = clock
        self.ids = ids
        self.logger = logger
    }

    func respond(
        to request: ArrivedRequest,
        route: Operations.Route,
        metrics: OperationMetrics
    ) async -> (Answer, RequestRecord) {
        let start = ContinuousClock.now
        let operation = route.operation
        var record = RequestRecord(
            requestID: requestID(of: request),
            operation: operation,
            method: request.method,
            address: addresses.address(of: request.headers, socket: request.peer)
        )
        var answer: Answer
        var mayHaveChanged = false
        do {
            let principal = try await principal(of: request, for: operation, from: record.address)
            record.credentialID = principal.credentialID
            try operation.require(of: principal)
            if !operation.readsQuery, !request.queryString.isEmpty {
                try QueryReader(request.queryString, operationID: operation.id).finish()
            }
            let context = RequestContext(
                requestID: record.requestID,
                operation: operation,
                principal: principal,
                authenticationTook: ContinuousClock.now - start,
                clientAddress: record.address,
                places: places,
                logger: logger,
                clock: clock,
                ids: ids
            )
            answer = try await whileClientWaits(for: operation, request.body) { content in
                let body = try await self.body(content, of: request, for: operation)
                let incoming = APIRequest(request, body: body, for: operation)
                let place = try places.place(for: principal, of: operation)
                defer { withExtendedLifetime(place) {} }
                mayHaveChanged = operation.takesBody
                return try await route.handler(incoming, context)
            }
        } catch {
            let problem = Problem(mapping: error, mayHaveChanged: mayHaveChanged)
            record.problem = problem
            answer = problem.answer(instance: request.path, requestID: record.requestID)
        }
        if operation.endsWithClient { answer.headers[.connection] = "close" }
        record.status = answer.status
        record.duration = ContinuousClock.now - start
        metrics.record(status: answer.status, duration: record.duration)
        record.log(to: logger)
        securityHeaders.add(to: &answer.headers)
        answer.headers.append(HTTPField(name: .xRequestID, value: record.requestID))
        return (answer, record)
    }

    /// Does the work of a request, to its end or, where the operation allows it, until its client goes.
    private func whileClientWaits(
        for operation: Operation,
        _ body: ArrivedRequest.Body,
        _ work: (ArrivedRequest.Body) async throws -> Answer
    ) async throws -> Answer {
        guard operation.endsWithClient, case .arriving(let parts) = body else { return try await work(body) }
        do {
            return try await parts.consumeWithCancellationOnInboundClose { try await work(.arriving($0)) }
        } catch is CancellationError {
            throw Problem.clientGone
        }
    }

    func response(_ answer: Answer, record: RequestRecord, _ eventLoop: any EventLoop) -> Response {
        Response(status: answer.status, headers: answer.headers, body: body(of: answer, record: record, eventLoop))
    }

    /// A piece counts as taken when the connection's event loop has put it on the way: only then is it known whether
    /// there is room for the next. A busy loop would otherwise gather any number of pieces.
    private func body(of answer: Answer, record: RequestRecord, _ eventLoop: any EventLoop) -> ResponseBody {
        guard let stream = answer.stream else {
            return answer.body.readableBytes == 0 ? ResponseBody() : ResponseBody(byteBuffer: answer.body)
        }
        return ResponseBody { writer in
            do {
                try await stream.produce { piece in
                    try await writer.write(piece)
                    try await eventLoop.submit {}.get()
                }
            } catch {
                record.logCutOff(by: error, to: logger)
                throw error
            }
            try await writer.finish(nil)
        }
    }

    private func requestID(of request: ArrivedRequest) -> String {
        if let given = request.headers.value(of: .xRequestID), Self.isSane(requestID: given) { return given }
        return ids.next().description
    }

    /// A foreign id is taken over only if it can do no harm in a log line or a header.
    static func isSane(requestID: String) -> Bool {
        (1...128).contains(requestID.utf8.count)
            && requestID.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default:
                    "-_.:/+=@".utf8.contains(byte)
                }
            }
    }

    private func principal(
        of request: ArrivedRequest,
        for operation: Operation,
        from address: IPAddress
    ) async throws -> Principal {
        guard operation.access != .open else { return .anonymous }
        return try await authenticate(try Self.credential(in: request.headers), address, operation)
    }

    static func credential(in headers: HTTPFields) throws(Problem) -> PresentedCredential {
        if let field = headers.value(of: .authorization) {
            let trimmed = Substring(field).trimmingSpaces()
            let end = trimmed.utf8.firstIndex(of: UInt8(ascii: " ")) ?? trimmed.endIndex
            let (scheme, text) = (trimmed[..<end], trimmed[end...].trimmingSpaces())
            guard scheme == "Bearer" || scheme.lowercased() == "bearer", !text.isEmpty else {
                throw .unauthenticated("The Authorization field must be 'Bearer' and a key or token.")
            }
            return .bearer(String(text))
        }
        if let key = headers.value(of: .xAPIKey) {
            return .apiKey(key)
        }
        throw .unauthenticated("Send an API key as 'Authorization: Bearer ...' or 'X-Api-Key: ...'.")
    }

    private func body(
        _ content: ArrivedRequest.Body,
        of request: ArrivedRequest,
        for operation: Operation
    ) async throws -> ByteBuffer {
        guard operation.takesBody else { return ByteBuffer() }
        let limit = operation.bodyLimitBytes
        guard request.headers.announcedBytes ?? 0 <= limit else { throw Problem.contentTooLarge(limitBytes: limit) }
        let body: ByteBuffer
        switch content {
        case .whole(let bytes):
            body = bytes
        case .arriving(let parts):
            do {
                body = try await parts.collect(upTo: limit)
            } catch is NIOTooManyBytesError {
                throw Problem.contentTooLarge(limitBytes: limit)
            }
        }
        let isTyped = request.headers.contains(.contentType)
        if isTyped || (body.readableBytes > 0 && !operation.mediaTypes.contains("*/*")) {
            try Self.checkMediaType(of: request, accepted: operation.mediaTypes)
        }
        return body
    }

    private static func checkMediaType(of request: ArrivedRequest, accepted: [String]) throws(Problem) {
        let given = request.headers.value(of: .contentType)
        if let given, accepted.contains(given) { return }
        let type = given.map { String($0.prefix { $0 != ";" }[...].trimmingSpaces()).lowercased() }
        guard let type, accepted.contains(type) || accepted.contains("*/*") else {
            throw .unsupportedMediaType(given, accepted: accepted)
        }
    }
}

extension Principal {
    /// Nobody: what an open operation is called by. It may access no tenant.
    package static let anonymous = Principal(
        credentialID: "anonymous",
        tenantID: TenantID(rawValue: -1),
        tenantKey: nil,
        scopes: [],
        answerKey: AnswerKey(derivedFromSecret: "")
    )
}

extension Operation {
    /// Throws where the caller, whoever it is, may not do this.
    fileprivate func require(of principal: Principal) throws(Problem) {
        guard case .anyOf(let needed) = access else { return }
        guard !principal.scopes.isDisjoint(with: needed) else { throw .insufficientScope(needed: needed) }
        guard !principal.isTenantSuspended || onlyReads || tellsSuspension else { throw .tenantSuspended }
    }
}
