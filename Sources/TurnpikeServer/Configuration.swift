package import Admission
package import BillingCore
package import Identity
package import Invoicing
package import Logging
package import Postgres
package import Web
package import Webhooks

/// Everything the service is told from outside, checked.
package struct Configuration: Sendable {
    package var databaseURL: String
    package var migrationURL: String
    package var migratesOnStart = true
    package var zone: Zone
    package var host = "127.0.0.1"
    package var port = 8080
    package var operatorKey: APIKeyText?
    package var tokens = TokenConfiguration()
    package var logLevel = Logger.Level.info
    package var ingestConnections = 2
    package var admissionConnections = 2
    package var interactiveConnections = 4
    package var workerConnections = 2
    package var ingestQueueEvents = 50_000
    package var ingestFlushEvents = 2_000
    package var eventMaxAgeDays = 35
    package var eventMaxFutureSeconds = 300
    package var batchEvents = 10_000
    package var eventBodyBytes = 8 * 1024 * 1024
    package var bodyBytes = 256 * 1024
    /// The operator's, in which provider costs are.
    package var costCurrency = Currency.usd
    /// Sources of events whose reported cost is believed.
    package var trustedCostSources: Set<String> = []
    package var admission = AdmissionLimits()
    package var alertRetentionDays = 400
    package var shutdownSeconds = 30
    package var authenticationLimits = AuthenticationThrottle.Limits()
    package var trustedProxies: [AddressRange] = []
    /// Nil is the page under `ownURL`.
    package var ownPortalURL: String?
    /// The origins of pages that may embed the customers' page.
    package var portalFrameAncestors: [String] = []
    package var invoiceGrace = InvoiceGrace(hours: 24)
    /// Addresses that configured URLs may lead to although they are not public.
    package var outboundAllowed: [AddressRange] = []
    /// Addresses that tenants' webhook endpoints may lead to although they are not public.
    package var webhookAllowed: [AddressRange] = []
    /// Nil sends no mail.
    package var mail: Sendmail?
    package var connectionLimit = 4_000
    /// How long a request, and a handshake, may take to arrive; set by nobody outside.
    package var readTimeoutSeconds = 30
    /// Nil speaks plain HTTP.
    package var certificate: TLSCertificate?
    /// Who issues the invoices; nil leaves that out.
    package var seller: InvoiceSeller?

    /// The defaults with a database.
    package init(databaseURL: String, zone: Zone) {
        self.databaseURL = databaseURL
        migrationURL = databaseURL
        self.zone = zone
    }

    /// Reads environment and flags; throws every fault at once.
    package init(environment: [String: String], arguments: [String] = []) throws(ConfigurationFault) {
        var reader = SettingsReader(environment: environment, arguments: arguments)
        (databaseURL, migrationURL) = Self.databaseURLs(&reader)
        migratesOnStart = reader.value(.migrate, fallback: true, expecting: "true or false", Bool.init)
        let zone: Zone? = reader.value(
            .timezone,
            fallback: nil,
            expecting: "an IANA time zone such as Europe/Berlin"
        ) { Zone(identifier: $0) }
        host = reader.required(.host)
        port = reader.integer(.port, in: 0...65_535)
        operatorKey = Self.operatorKey(&reader)
        tokens = TokenConfiguration(reading: &reader)
        logLevel = reader.value(
            .logLevel,
            fallback: .info,
            expecting: "one of " + Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
        ) { Logger.Level(rawValue: $0) }
        ingestConnections = reader.integer(.ingestConnections, in: 1...64)
        admissionConnections = reader.integer(.admissionConnections, in: 1...64)
        interactiveConnections = reader.integer(.interactiveConnections, in: 1...256)
        workerConnections = reader.integer(.workerConnections, in: 1...64)
        ingestQueueEvents = reader.integer(.ingestQueueEvents, in: 100...5_000_000)
        ingestFlushEvents = reader.integer(.ingestFlushEvents, in: 1...20_000)
        eventMaxAgeDays = reader.integer(.eventMaxAgeDays, in: 1...3_650)
        eventMaxFutureSeconds = reader.integer(.eventMaxFutureSeconds, in: 0...86_400)
        batchEvents = reader.integer(.batchEvents, in: 1...100_000)
        eventBodyBytes = reader.integer(.eventBodyBytes, in: 1_024...(256 * 1024 * 1024))
        bodyBytes = reader.integer(.bodyBytes, in: 1_024...(64 * 1024 * 1024))
        costCurrency = reader.value(
            .costCurrency,
            fallback: .usd,
            expecting: "an ISO 4217 code in capitals such as USD"
        ) { Currency($0) }
        trustedCostSources = Set(reader.list(.trustedCostSources))
        admission = Self.admission(&reader, connections: admissionConnections)
        alertRetentionDays = reader.integer(.alertRetentionDays, in: 7...36_500)
        authenticationLimits.failuresPerAddress = reader.integer(.authenticationFailuresPerAddress, in: 0...1_000_000)
        authenticationLimits.failuresPerCredential = reader.integer(
            .authenticationFailuresPerCredential,
            in: 0...1_000_000
        )
        connectionLimit = reader.integer(.maximumConnections, in: 10...1_000_000)
        certificate = Self.certificate(&reader)
        (outboundAllowed, webhookAllowed) = (reader.addressRanges(.outboundAllow), reader.addressRanges(.webhookAllow))
        mail = Self.mail(&reader)
        trustedProxies = reader.addressRanges(.trustedProxies)
        (ownPortalURL, portalFrameAncestors) = (reader.portalURL(), reader.origins(.portalFrameAncestors))
        shutdownSeconds = reader.integer(.shutdownSeconds, in: 1...3_600)
        invoiceGrace = InvoiceGrace(hours: reader.integer(.invoiceGraceHours, in: 0...744))
        seller = Self.seller(&reader)
        if batchEvents > ingestQueueEvents {
            reader.fault(.batchEvents, "must not be above TURNPIKE_INGEST_QUEUE_EVENTS (\(ingestQueueEvents))")
        }
        guard reader.faults.isEmpty, let zone else { throw ConfigurationFault(faults: reader.faults) }
        self.zone = zone
    }

    private static func admission(_ reader: inout SettingsReader, connections: Int) -> AdmissionLimits {
        var limits = AdmissionLimits()
        // As many connections again are left for reading credentials.
        limits.lanes = max(1, connections / 2)
        limits.reservationSeconds = reader.integer(.reservationSeconds, in: 1...86_400)
        limits.suspenseSeconds = reader.integer(.reservationSuspenseSeconds, in: 0...604_800)
        limits.deadlineMilliseconds = reader.integer(.admissionDeadlineMilliseconds, in: 10...60_000)
        return limits
    }

    /// How the pool is to be built.
    package var postgres: PostgresConfiguration {
        var postgres = PostgresConfiguration(url: databaseURL)
        postgres.ingest.connections = ingestConnections
        postgres.admission.connections = admissionConnections
        postgres.interactive.connections = interactiveConnections
        postgres.worker.connections = workerConnections
        return postgres
    }

    private static func databaseURLs(_ reader: inout SettingsReader) -> (database: String, migration: String) {
        let database = reader.required(.databaseURL)
        if !database.isEmpty { checkURL(database, .databaseURL, &reader) }
        guard let migration = reader.text(.migrationURL) else { return (database, database) }
        checkURL(migration, .migrationURL, &reader)
        return (database, migration)
    }

    private static func checkURL(_ url: String, _ setting: Setting, _ reader: inout SettingsReader) {
        let isURL = url.hasPrefix("postgres://") || url.hasPrefix("postgresql://")
        guard isURL || url.contains("=") else {
            reader.fault(setting, "must be a PostgreSQL URL such as postgres://user@host:5432/name")
            return
        }
        if !PostgresConfiguration(url: url).hasValidURL {
            reader.fault(
                setting,
                "is not a valid connection string; reserved characters in a password must be percent-encoded"
            )
        }
    }

    private static func seller(_ reader: inout SettingsReader) -> InvoiceSeller? {
        let details = reader.text(.sellerDetails)
        guard let name = reader.text(.sellerName) else {
            if details != nil { reader.fault(.sellerDetails, "needs TURNPIKE_SELLER_NAME") }
            return nil
        }
        let lines = (details ?? "").split(separator: ";").map { String($0.trimmingPrefix(while: \.isWhitespace)) }
        return InvoiceSeller(name: name, lines: lines.filter { !$0.isEmpty })
    }

    private static func mail(_ reader: inout SettingsReader) -> Sendmail? {
        let path = reader.value(.sendmail, fallback: Sendmail.defaultPath, expecting: "the whole path of a program") {
            $0.hasPrefix("/") ? $0 : nil
        }
        let from = reader.value(
            .mailFrom,
            fallback: nil,
            expecting: "one address such as turnpike@example.com"
        ) { MailAddress($0) }
        return from.map { Sendmail(path: path, from: $0) }
    }

    private static func certificate(_ reader: inout SettingsReader) -> TLSCertificate? {
        switch (reader.text(.tlsCertificate), reader.text(.tlsKey)) {
        case (nil, nil):
            return nil
        case (_?, nil):
            reader.fault(.tlsCertificate, "needs TURNPIKE_TLS_KEY beside it")
        case (nil, _?):
            reader.fault(.tlsKey, "needs TURNPIKE_TLS_CERT beside it")
        case (let certificate?, let key?):
            do throws(TLSCertificate.Fault) {
                return try TLSCertificate(.init(certificatePath: certificate, keyPath: key))
            } catch {
                let setting = error.isOfKey(at: key) ? Setting.tlsKey : .tlsCertificate
                reader.fault(setting, "can't be used: \(error)")
            }
        }
        return nil
    }

    private static func operatorKey(_ reader: inout SettingsReader) -> APIKeyText? {
        guard let text = reader.text(.operatorKey) else { return nil }
        do {
            return try APIKeyText(parsing: text)
        } catch {
            reader.fault(.operatorKey, "must be \(APIKeyText.expectation); \(error)")
            return nil
        }
    }
}

/// What is wrong with the configuration, all of it.
package struct ConfigurationFault: Error, CustomStringConvertible {
    package let faults: [String]

    package var description: String {
        let subject =
            faults.count == 1 ? "The configuration has a fault:" : "The configuration has \(faults.count) faults:"
        return ([subject] + faults.map { "  - \($0)" }).joined(separator: "\n")
    }
}
