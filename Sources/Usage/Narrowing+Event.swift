import Catalog
import HTTPTypes
package import Web

extension Narrowing {
    /// What of the event is beyond it; nothing is looked at where nothing is narrowed.
    package func refusals(of event: UsageEvent) -> [Refusal] {
        refusals(
            model: event.usage.model,
            feature: event.usage.feature,
            dataClass: event.property(.dataClass)?.text
        )
    }

    /// Whether a fault is a refusal, and not one of the event itself.
    static func isRefusal(_ fault: EventFault) -> Bool {
        Refusal.allCases.contains { $0.code == fault.code }
    }
}

extension Problem {
    package static let useNotAllowedCode = "use_not_allowed"

    /// The 403 of a credential that is narrowed to other uses.
    package static func useNotAllowed(detail: String, errors: [FieldFault]) -> Problem {
        Problem(.forbidden, code: useNotAllowedCode, detail: detail, errors: errors)
    }
}
