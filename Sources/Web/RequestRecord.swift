import HTTPTypes
import Logging

/// What the log says about one request: one line, with the path template and never the path, the query or a
/// header, so that no key, token or customer name gets into it.
struct RequestRecord {
    let requestID: String
    let operation: Operation
    let method: HTTPRequest.Method
    let address: IPAddress
    var credentialID: String?
    var status: HTTPResponse.Status = .ok
    var duration: Duration = .zero
    var problem: Problem?

    init(requestID: String, operation: Operation, method: HTTPRequest.Method, address: IPAddress) {
        self.requestID = requestID
        self.operation = operation
        self.method = method
        self.address = address
    }

    func log(to logger: Logger) {
        let level = level
        guard logger.logLevel <= level else { return }
        let (seconds, attoseconds) = duration.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        var metadata: Logger.Metadata = [
            "request_id": .string(requestID),
            "method": .string(method.rawValue),
            "route": .string(operation.path),
            "operation": .string(operation.id),
            "status": .stringConvertible(status.code),
            "duration_us": .stringConvertible(microseconds),
        ]
        if let credentialID { metadata["credential_id"] = .string(credentialID) }
        // An address is personal data: it is kept where somebody may have to be found.
        if status == .unauthorized || status == .tooManyRequests {
            metadata["address"] = .string(address.description)
        }
        if let problem {
            metadata["problem"] = .string(problem.code)
            if let underlying = problem.underlying {
                metadata["error"] = .string("\(type(of: underlying)): \(underlying)")
            }
        }
        logger.log(level: level, "request", metadata: metadata)
    }

    /// The answer had begun when this happened, so the client has only a part of it. Mostly the client has gone.
    func logCutOff(by error: any Error, to logger: Logger) {
        logger.warning(
            "answer cut off",
            metadata: [
                "request_id": .string(requestID),
                "operation": .string(operation.id),
                "error": .string("\(type(of: error)): \(error)"),
            ]
        )
    }

    private var level: Logger.Level {
        switch status.kind {
        case .serverError: problem?.code == "internal_error" ? .error : .warning
        case .successful, .redirection, .informational: operation.isQuiet ? .debug : .info
        default: .info
        }
    }
}
