import BillingCore
import Identity
import Web

/// Makes one attempt of a delivery, in the way of its endpoint's kind.
struct WebhookSender: Sendable {
    let outbound: OutboundClient
    /// Nil signs nothing.
    let masterKey: MasterKey?
    /// Nil sends no mail.
    let mail: Sendmail?

    /// Whatever happens is a result; nothing of an endpoint's answer or address stops the worker.
    func send(_ delivery: ClaimedDelivery, at now: Instant) async -> AttemptResult {
        do {
            switch delivery.target.kind {
            case .webhook:
                let request = try WebhookRequest(delivery.event, signedWith: try keys(of: delivery), at: now)
                return try await post(request.body, headers: request.headers, to: delivery)
            case .slack:
                let body = EventText(delivery.event).slackBody
                return try await post(body, headers: [("Content-Type", "application/json")], to: delivery)
            case .email:
                guard let mail else { return AttemptResult(error: "TURNPIKE_MAIL_FROM is not set") }
                guard let recipient = MailAddress(mailto: delivery.target.url) else {
                    return AttemptResult(error: "the address is not \(MailAddress.expectation)")
                }
                try await mail.submit(MailMessage(delivery.event, from: mail.from, to: recipient, at: now))
                return .accepted
            }
        } catch {
            return AttemptResult(error: "\(error)")
        }
    }

    private func post(
        _ body: [UInt8],
        headers: [(String, String)],
        to delivery: ClaimedDelivery
    ) async throws(OutboundFault) -> AttemptResult {
        let answer = try await outbound.post(
            delivery.target.url,
            headers: headers,
            body: body,
            excerptBytes: AttemptResult.excerptBytes
        )
        return AttemptResult(status: answer.status, excerpt: answer.excerpt)
    }

    private func keys(of delivery: ClaimedDelivery) throws -> [WebhookSigningKey] {
        guard let masterKey, let signing = delivery.target.signing else { throw Unsigned.noMasterKey }
        do {
            return try delivery.target.sealedSecrets.map { sealed in
                try WebhookSigningKey(signing, sealed: sealed, of: delivery.endpoint, masterKey)
            }
        } catch {
            throw Unsigned.otherMasterKey
        }
    }

    private enum Unsigned: Error, CustomStringConvertible {
        case noMasterKey, otherMasterKey

        var description: String {
            switch self {
            case .noMasterKey: "TURNPIKE_MASTER_KEY is not set"
            case .otherMasterKey: "the secret was sealed with another TURNPIKE_MASTER_KEY; rotate it"
            }
        }
    }
}
