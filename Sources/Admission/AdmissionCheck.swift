import BillingCore
import Catalog
import HTTPTypes
import Usage
import Web

/// A call as a reverse proxy describes it, in header fields: nginx's `auth_request` and Envoy's `ext_authz` ask without
/// a body.
struct AdmissionCheck: Sendable {
    let call: AdmissionCall
    /// Whether a reservation is made, which the call's usage event is to settle. Without it the call must fit and uses
    /// its rates, and nothing is held.
    let reserves: Bool

    private static let prefix = "X-Turnpike-"
    private static let texts = [
        "Provider": "provider", "Model": "model", "User": "user", "Feature": "feature", "Cost-Center": "cost_center",
        "Data-Class": "data_class",
    ]
    private static let numbers = ["Input-Tokens": "input_tokens", "Output-Tokens": "output_tokens"]
    /// Members of the call itself, beside its data.
    private static let callNumbers = ["Ttl-Seconds": "ttl_seconds", "Min-Output-Tokens": "min_output_tokens"]
    private static let others = ["Subject", "Type", "Source", "Id", "Reserve", "Criticality"]
    private static let names = [texts, numbers, callNumbers].flatMap(\.keys) + others
    private static let lowercasedPrefix = prefix.lowercased()
    private static let knownFields = Set(names.map { (prefix + $0).lowercased() })

    init(_ request: APIRequest, _ context: RequestContext) throws {
        let principal = context.principal
        func field(_ name: String) -> String? { request.header(Self.prefix + name).flatMap { $0.isEmpty ? nil : $0 } }
        var faults = Self.fieldFaults(request.headers)
        let reserve = field("Reserve")
        reserves = reserve == "true"
        // Whoever means to reserve and is misunderstood would hold nothing.
        if let reserve, reserve != "true", reserve != "false" {
            let detail = "the field must be \"true\" or \"false\""
            faults.append(FieldFault(pointer: "/reserve", code: "invalid_value", detail: detail))
        }
        // The id of the request may be a client's, and the same reservation would let each of its calls pass.
        if reserves, field("Id") == nil {
            let detail = "a reservation must have an id that the proxy gives the call"
            faults.append(FieldFault(pointer: "/id", code: "required", detail: detail))
        }
        var members = [
            JSONMember(name: "subject", value: .string(field("Subject") ?? principal.tenantKey ?? "")),
            JSONMember(name: "type", value: .string(field("Type") ?? "llm.completion")),
            JSONMember(name: "source", value: .string(field("Source") ?? "proxy")),
            JSONMember(name: "id", value: .string(field("Id") ?? context.requestID)),
        ]
        var data: [JSONMember] = []
        for (name, member) in Self.texts.sorted(by: { $0.key < $1.key }) {
            if let text = field(name) { data.append(JSONMember(name: member, value: .string(text))) }
        }
        for (name, member) in Self.numbers.sorted(by: { $0.key < $1.key }) {
            if let text = field(name) { data.append(JSONMember(name: member, value: Self.number(text))) }
        }
        members.append(JSONMember(name: "data", value: .object(data)))
        for (name, member) in Self.callNumbers.sorted(by: { $0.key < $1.key }) {
            if let text = field(name) { members.append(JSONMember(name: member, value: Self.number(text))) }
        }
        if let criticality = field("Criticality") {
            members.append(JSONMember(name: "criticality", value: .string(criticality)))
        }
        let input: AdmissionInput
        do {
            input = try JSONValue.object(members).bytes.withUnsafeBytes { body in
                try AdmissionInput(body, by: principal)
            }
        } catch let failure as ValidationFailure {
            throw ValidationFailure(faults + failure.faults)
        }
        guard faults.isEmpty, let call = input.calls.first else { throw ValidationFailure(faults) }
        self.call = call
    }

    /// Fields that say nothing to anybody: a mistyped one would leave a limit unasked. Those that a proxy passed on
    /// beside its own, which would be taken together. And what is not UTF-8, where different texts would be taken for
    /// one.
    private static func fieldFaults(_ headers: HTTPFields) -> [FieldFault] {
        var seen: Set<String> = []
        return headers.compactMap { header in
            let name = header.name.canonicalName
            guard name.hasPrefix(lowercasedPrefix) else { return nil }
            func fault(_ code: String, _ detail: String) -> FieldFault {
                FieldFault(pointer: header.name.rawName, code: code, detail: detail)
            }
            guard knownFields.contains(name) else {
                let nearest = Nearest.name(to: String(name.dropFirst(prefix.count)), among: names)
                let meant = nearest.map { "; did you mean \"\(prefix)\($0)\"?" } ?? ""
                return fault("unknown_field", "the field is not known\(meant)")
            }
            guard seen.insert(name).inserted else {
                return fault("repeated", "the field may be given once: have the proxy set it, and not add to it")
            }
            let isText = !header.value.unicodeScalars.contains("\u{FFFD}")
            return isText ? nil : fault("malformed", "the field must be UTF-8 text")
        }
    }

    /// A problem of the call, at the header fields that its members were read from. What the credential may not ask
    /// for is refused like any call: a proxy must not take it for its own key's trouble.
    static func inFields(_ problem: Problem) -> Problem {
        var problem = problem
        problem.errors = problem.errors.map { fault in
            guard fault.pointer.hasPrefix("/"), let member = fault.pointer.split(separator: "/").last else {
                return fault
            }
            let words = member.split(separator: "_").map { $0.prefix(1).uppercased() + $0.dropFirst() }
            return FieldFault(
                pointer: prefix + words.joined(separator: "-"),
                code: fault.code,
                detail: fault.detail
            )
        }
        if problem.code == Problem.useNotAllowedCode {
            problem.headers.setRefusal(problem.code, meaning: problem.status)
        }
        return problem
    }

    /// A text that is no number stays a text, which is a fault of its member.
    private static func number(_ text: String) -> JSONValue {
        (try? JSONValue(parsing: text)).flatMap { if case .number = $0 { $0 } else { nil } } ?? .string(text)
    }

    /// 204 when the call may be made, 429 when a rate refuses it, otherwise 403, unless the proxy knows others only.
    func answer(_ body: AdmissionBody, admittingWith admittance: AdmittedStatus?, refusingWith denial: DenialStatus?)
        -> Answer
    {
        var answer: Answer
        if body.allowed {
            answer = admittance == .ok ? Answer(status: .ok) : .noContent
            if let reservation = body.reservation {
                answer.headers.setCheck("Reservation-Id", reservation.id.description)
            }
            if let tokens = body.maxOutputTokens { answer.headers.setCheck("Max-Output-Tokens", "\(tokens)") }
            if !body.warnings.isEmpty { answer.headers.setCheck("Warnings", body.warnings.joined(separator: ", ")) }
        } else {
            let refusal: HTTPResponse.Status = body.isRateLimited ? .tooManyRequests : .forbidden
            answer = Answer(status: denial == .forbidden ? .forbidden : refusal)
            answer.headers.setRefusal(body.reason, meaning: refusal)
            if let limit = body.limits.first { answer.headers.setCheck("Limit", limit.key) }
        }
        for field in body.rateFields { answer.headers.append(field) }
        return answer
    }
}

/// What a proxy wants an admitted call to be answered with: Envoy's `ext_authz` takes any status but 200 for a refusal.
enum AdmittedStatus: String, CaseIterable {
    case ok = "200"
}

/// What a proxy wants every refusal to be: nginx's `auth_request` knows none but 401 and 403. A 401 is none, it says
/// that the credential is not good.
enum DenialStatus: String, CaseIterable {
    case forbidden = "403"
}

extension HTTPFields {
    fileprivate mutating func setRefusal(_ reason: String?, meaning status: HTTPResponse.Status) {
        if let reason { setCheck("Reason", reason) }
        setCheck("Status", "\(status.code)")
    }

    fileprivate mutating func setCheck(_ name: String, _ value: String) {
        guard let name = HTTPField.Name("X-Turnpike-" + name) else { return }
        self[name] = value
    }
}
