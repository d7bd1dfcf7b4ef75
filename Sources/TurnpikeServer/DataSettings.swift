import BillingCore
import Invoicing
import Logging
import Web

extension Configuration {
    /// The settings by which stored data is made or judged, as texts. None of them is a secret.
    var dataSettings: [(setting: Setting, text: String)] {
        [
            (.timezone, zone.identifier),
            (.costCurrency, costCurrency.code),
            (.invoiceGraceHours, "\(invoiceGrace.hours)"),
            (.sellerName, seller?.name ?? ""),
            (.sellerDetails, seller?.lines.joined(separator: "; ") ?? ""),
        ]
    }
}

extension Dependencies {
    /// Keeps the settings by which stored data is made or judged for commands beside the service, once it serves, and
    /// warns where those of the start before were others: a replica may run with them still.
    func keepDataSettings() async {
        do {
            let changed = try await ServiceSettingStore.write(configuration.dataSettings, at: clock.now(), to: pool)
            guard !changed.isEmpty else { return }
            logger.warning(
                "settings differ from those that the service was started with last: all replicas need the same",
                metadata: ["settings": .array(changed.map { .string($0) })]
            )
        } catch {
            logger.error(
                "settings are not kept: commands beside the service go by those of an earlier start",
                metadata: ["error": "\(error)"]
            )
        }
    }
}
