import BillingCore
import Identity
import Logging
import Synchronization
import Web

/// Makes one attempt of a delivery, in the way of its endpoint's kind.
struct WebhookSender: Sendable {
    /// Calls the operator's own endpoints.
    let outbound: OutboundClient
    /// Calls those of tenants, which may reach other addresses.
    let tenantOutbound: OutboundClient
    /// Nil signs nothing, and opens no URL.
    let masterKey: MasterKey?
    /// Nil sends no mail.
    let mail: Sendmail?
    let logger: Logger
    private let unreadable = EndpointSet()

    init(
        outbound: OutboundClient,
        tenantOutbound: OutboundClient,
        masterKey: MasterKey?,
        mail: Sendmail?,
        logger: Logger
    ) {
        self.outbound = outbound
        self.tenantOutbound = tenantOutbound
        self.masterKey = masterKey
        self.mail = mail
        self.logger = logger
    }

    /// What this process can send.
    var kinds: [WebhookEndpoint.Kind] {
        WebhookEndpoint.Kind.allCases.filter { kind in
            switch kind {
            case .webhook: masterKey != nil
            case .slack: true
            case .email: mail != nil
            }
        }
    }

    /// Whatever happens is a result; nothing of an endpoint's answer or address stops the worker. A tenant is told
    /// nothing of how the service is set up.
    func send(
        _ content: ClaimedDelivery.Content,
        to endpoint: WebhookEndpointID,
        at now: Instant
    ) async -> AttemptResult {
        let (target, event) = (content.target, content.event)
        do {
            switch target.kind {
            case .webhook:
                let request = try WebhookRequest(event, signedWith: try keys(of: target, endpoint), at: now)
                return await post(request.body, headers: request.headers, to: target.url, of: endpoint)
            case .slack:
                let headers = [("Content-Type", "application/json")]
                let url = try url(of: target, endpoint)
                return await post(EventText(event).slackBody, headers: headers, to: url, of: endpoint)
            case .email:
                guard let mail else { throw LocalFault.noMail }
                guard let recipient = MailAddress(mailto: target.url) else {
                    return AttemptResult(error: "the address is not \(MailAddress.expectation)")
                }
                try await mail.submit(MailMessage(event, from: mail.from, to: recipient, at: now))
                return .accepted
            }
        } catch {
            let isLocal = error is LocalFault || error is Sendmail.NotRun
            guard endpoint.tenant != .operatorWide else {
                return AttemptResult(error: "\(error)", isLocal: isLocal)
            }
            logger.warning("a delivery was not sent", metadata: ["endpoint": "\(endpoint)", "error": "\(error)"])
            let text = (error as? LocalFault)?.tenantText ?? "the service could not send it"
            return AttemptResult(error: text, isLocal: isLocal)
        }
    }

    private func post(
        _ body: [UInt8],
        headers: [(String, String)],
        to url: String,
        of endpoint: WebhookEndpointID
    ) async -> AttemptResult {
        let isOperators = endpoint.tenant == .operatorWide
        // Whose share an attempt is, as in `DeliveryQueue.claim`.
        let owner = isOperators ? endpoint.description : endpoint.tenant.description
        do throws(OutboundFault) {
            let answer = try await (isOperators ? outbound : tenantOutbound).post(
                url,
                for: owner,
                headers: headers,
                body: body,
                excerptBytes: AttemptResult.excerptBytes
            )
            return AttemptResult(status: answer.status, excerpt: answer.excerpt)
        } catch {
            if error.isLocal {
                logger.warning(
                    "a delivery could not be tried from here",
                    metadata: ["endpoint": "\(endpoint)", "error": "\(error)"]
                )
            }
            let text = isOperators ? "\(error)" : Self.tenantText(error)
            var result = AttemptResult(error: text, isLocal: error.isLocal)
            if case .resolverFailed = error { result.isOfResolver = true }
            return result
        }
    }

    /// Tells a tenant nothing of the names and addresses of the operator's network.
    private static func tenantText(_ fault: OutboundFault) -> String {
        switch fault {
        case .unresolved, .refused, .unencrypted: "the URL must be https at a public address"
        case .malformed, .notLookedUp, .resolverFailed, .status, .tooLarge, .unanswered: "\(fault)"
        }
    }

    private func url(of target: ClaimedDelivery.Target, _ endpoint: WebhookEndpointID) throws(LocalFault) -> String {
        guard let sealed = target.sealedURL else { return target.url }
        guard let masterKey else { throw .noMasterKey }
        guard let url = try? SealedURL.open(sealed, of: endpoint, masterKey) else { throw .urlOfOtherMasterKey }
        return url
    }

    /// Those that sign at this moment, the present one first. One before it that can't be opened signs nothing: it was
    /// sealed with a master key that was changed since then, which is what the rotation was for.
    private func keys(
        of target: ClaimedDelivery.Target,
        _ endpoint: WebhookEndpointID
    ) throws(LocalFault) -> [WebhookSigningKey] {
        guard let masterKey, let signing = target.signing, let sealed = target.sealedSecret else {
            throw .noMasterKey
        }
        let open = { try? WebhookSigningKey(signing, sealed: $0, of: endpoint, masterKey) }
        guard let present = open(sealed) else { throw .otherMasterKey }
        guard let sealedBefore = target.previousSealedSecret else { return [present] }
        guard let previous = open(sealedBefore) else {
            if unreadable.insert(endpoint) {
                logger.warning(
                    "the previous secret of a webhook endpoint was sealed with another master key and signs no more",
                    metadata: ["endpoint": "\(endpoint)"]
                )
            }
            return [present]
        }
        return [present, previous]
    }

    /// Why this process can't send.
    private enum LocalFault: Error, CustomStringConvertible {
        case noMail, noMasterKey, otherMasterKey, urlOfOtherMasterKey

        var description: String {
            switch self {
            case .noMail: "TURNPIKE_MAIL_FROM is not set"
            case .noMasterKey: "TURNPIKE_MASTER_KEY is not set"
            case .otherMasterKey: "the secret was sealed with another TURNPIKE_MASTER_KEY; rotate it"
            case .urlOfOtherMasterKey: "the URL was sealed with another TURNPIKE_MASTER_KEY; set it again"
            }
        }

        /// What a tenant can do about it, and nothing of how the service is set up; nil where it can do nothing.
        var tenantText: String? {
            switch self {
            case .noMail, .noMasterKey: nil
            case .otherMasterKey: "the service can't open the secret; rotate it"
            case .urlOfOtherMasterKey: "the service can't open the URL; set it again"
            }
        }
    }
}

/// Endpoints that something was said of already.
private final class EndpointSet: Sendable {
    private let endpoints = Mutex<Set<WebhookEndpointID>>([])

    /// Whether it is new.
    func insert(_ endpoint: WebhookEndpointID) -> Bool {
        endpoints.withLock { $0.insert(endpoint).inserted }
    }
}
