import Identity
import Webhooks

/// One thing that can be configured: an environment variable, and the flag that says the same.
package struct Setting: Sendable {
    package let name: String
    package let defaultText: String?
    package let summary: String

    /// `TURNPIKE_BATCH_EVENTS` -> `--batch-events`, `DATABASE_URL` -> `--database-url`.
    package var flag: String {
        let words = name.hasPrefix("TURNPIKE_") ? name.dropFirst("TURNPIKE_".count) : name[...]
        return "--" + words.lowercased().replacing("_", with: "-")
    }

    package static let databaseURL = Setting("DATABASE_URL", nil, "PostgreSQL to work in, postgres://user@host/name")
    package static let migrationURL = Setting(
        "TURNPIKE_MIGRATION_URL",
        nil,
        "a login that owns the schema; without it DATABASE_URL migrates too"
    )
    package static let migrate = Setting("TURNPIKE_MIGRATE", "true", "migrate when serving starts")
    package static let timezone = Setting("TURNPIKE_TIMEZONE", "UTC", "IANA time zone of operator-wide windows")
    package static let host = Setting("TURNPIKE_HOST", "127.0.0.1", "address to listen on")
    package static let port = Setting("TURNPIKE_PORT", "8080", "port to listen on, 0 for any free one")
    package static let operatorKey = Setting(
        "TURNPIKE_OPERATOR_KEY",
        nil,
        "an operator API key that exists after start"
    )
    package static let masterKey = Setting(
        "TURNPIKE_MASTER_KEY",
        nil,
        "\(MasterKey.expectation), which encrypt secrets at rest; without it no tokens are issued, "
            + "no webhooks signed and no URLs of Slack kept"
    )
    package static let issuer = Setting(
        "TURNPIKE_ISSUER",
        nil,
        "the URL by which others know this service, the issuer of its tokens; where it listens when left out"
    )
    package static let tokenSeconds = Setting("TURNPIKE_TOKEN_SECONDS", "900", "how long an access token is valid")
    package static let tokenAlgorithm = Setting("TURNPIKE_TOKEN_ALGORITHM", "ES256", "ES256 or RS256")
    package static let signingKeyDays = Setting(
        "TURNPIKE_SIGNING_KEY_DAYS",
        "30",
        "how long a key signs tokens before the next one does"
    )
    package static let logLevel = Setting(
        "TURNPIKE_LOG_LEVEL",
        "info",
        "trace, debug, info, notice, warning, error or critical"
    )
    package static let ingestConnections = Setting(
        "TURNPIKE_INGEST_CONNECTIONS",
        "2",
        "database connections that store events"
    )
    package static let admissionConnections = Setting(
        "TURNPIKE_ADMISSION_CONNECTIONS",
        "2",
        "database connections for admission, shared by half as many lanes and what reads credentials and tenants"
    )
    package static let interactiveConnections = Setting(
        "TURNPIKE_INTERACTIVE_CONNECTIONS",
        "4",
        "database connections of every other request"
    )
    package static let workerConnections = Setting(
        "TURNPIKE_WORKER_CONNECTIONS",
        "2",
        "database connections of background work"
    )
    package static let ingestQueueEvents = Setting(
        "TURNPIKE_INGEST_QUEUE_EVENTS",
        "50000",
        "events that may wait to be stored; beyond, the answer is 503"
    )
    package static let ingestFlushEvents = Setting(
        "TURNPIKE_INGEST_FLUSH_EVENTS",
        "2000",
        "events stored in one transaction at most"
    )
    package static let eventMaxAgeDays = Setting("TURNPIKE_EVENT_MAX_AGE_DAYS", "35", "how old an event may be")
    package static let eventMaxFutureSeconds = Setting(
        "TURNPIKE_EVENT_MAX_FUTURE_SECONDS",
        "300",
        "how far ahead of our clock an event may be"
    )
    package static let batchEvents = Setting("TURNPIKE_BATCH_EVENTS", "10000", "events in one request at most")
    package static let eventBodyBytes = Setting("TURNPIKE_EVENT_BODY_BYTES", "8388608", "body of POST /events at most")
    package static let bodyBytes = Setting("TURNPIKE_BODY_BYTES", "262144", "body of any other request at most")
    package static let costCurrency = Setting(
        "TURNPIKE_COST_CURRENCY",
        "USD",
        "ISO 4217 currency of provider costs"
    )
    package static let trustedCostSources = Setting(
        "TURNPIKE_TRUSTED_COST_SOURCES",
        nil,
        "sources, separated by commas, whose reported cost counts where the price book has no price"
    )
    package static let reservationSeconds = Setting(
        "TURNPIKE_RESERVATION_SECONDS",
        "900",
        "how long a reservation can be settled as admitted, unless the call says"
    )
    package static let reservationSuspenseSeconds = Setting(
        "TURNPIKE_RESERVATION_SUSPENSE_SECONDS",
        "3600",
        "how long an expired reservation goes on holding before it is given up with an alert"
    )
    package static let admissionDeadlineMilliseconds = Setting(
        "TURNPIKE_ADMISSION_DEADLINE_MS",
        "200",
        "after how long without a decision the limits' failure policies answer"
    )
    package static let alertRetentionDays = Setting(
        "TURNPIKE_ALERT_RETENTION_DAYS",
        "400",
        "how long an alert is kept after it was raised and its window has ended"
    )
    package static let shutdownSeconds = Setting(
        "TURNPIKE_SHUTDOWN_SECONDS",
        "30",
        "how long stopping may wait for what was accepted; a statement that runs then still ends by itself, "
            + "or after 10 seconds"
    )

    package static let authenticationFailuresPerAddress = Setting(
        "TURNPIKE_AUTH_FAILURES_PER_ADDRESS",
        "60",
        "failed authentications in a minute before an address gets 429 for more, 0 for any number"
    )
    package static let authenticationFailuresPerCredential = Setting(
        "TURNPIKE_AUTH_FAILURES_PER_CREDENTIAL",
        "30",
        "failed authentications in a minute before a key or client id gets 429 for more, 0 for any number"
    )
    package static let maximumConnections = Setting(
        "TURNPIKE_MAX_CONNECTIONS",
        "4000",
        "connections served at once; more wait"
    )
    package static let tlsCertificate = Setting(
        "TURNPIKE_TLS_CERT",
        nil,
        "PEM file of the certificate and those that lead to its root; with it the service speaks HTTPS"
    )
    package static let tlsKey = Setting("TURNPIKE_TLS_KEY", nil, "PEM file of the certificate's private key")
    package static let outboundAllow = Setting(
        "TURNPIKE_OUTBOUND_ALLOW",
        nil,
        "addresses or ranges, separated by commas, that an operator's URLs may lead to although they are not public"
    )
    package static let webhookAllow = Setting(
        "TURNPIKE_WEBHOOK_ALLOW",
        nil,
        "addresses or ranges, separated by commas, that tenants' webhooks may lead to although they are not public"
    )
    package static let trustedProxies = Setting(
        "TURNPIKE_TRUSTED_PROXIES",
        nil,
        "addresses or ranges, separated by commas, whose X-Forwarded-For or Forwarded is believed"
    )

    package static let mailFrom = Setting(
        "TURNPIKE_MAIL_FROM",
        nil,
        "address that mail of webhook endpoints comes from; without it none is sent"
    )
    package static let sendmail = Setting(
        "TURNPIKE_SENDMAIL",
        Sendmail.defaultPath,
        "program that takes mail as sendmail does, by its whole path"
    )

    package static let portalURL = Setting(
        "TURNPIKE_PORTAL_URL",
        nil,
        "URL of the customers' page as they open it; where it listens when left out"
    )
    package static let portalFrameAncestors = Setting(
        "TURNPIKE_PORTAL_FRAME_ANCESTORS",
        nil,
        "origins, separated by commas, whose pages may embed the customers' page"
    )

    package static let sellerName = Setting("TURNPIKE_SELLER_NAME", nil, "who issues the invoices, as they show it")
    package static let sellerDetails = Setting(
        "TURNPIKE_SELLER_DETAILS",
        nil,
        "address, tax number and the like below the seller's name, lines separated by semicolons"
    )
    package static let invoiceGraceHours = Setting(
        "TURNPIKE_INVOICE_GRACE_HOURS",
        "24",
        "how long a draft invoice waits for late usage before it is finalised"
    )

    package static let all = [
        databaseURL, migrationURL, migrate, timezone, host, port, operatorKey, masterKey, issuer, tokenSeconds,
        tokenAlgorithm, signingKeyDays, logLevel, ingestConnections, admissionConnections, interactiveConnections,
        workerConnections, ingestQueueEvents, ingestFlushEvents,
        eventMaxAgeDays, eventMaxFutureSeconds, batchEvents, eventBodyBytes, bodyBytes, costCurrency,
        trustedCostSources, reservationSeconds, reservationSuspenseSeconds, admissionDeadlineMilliseconds,
        alertRetentionDays,
        authenticationFailuresPerAddress, authenticationFailuresPerCredential, trustedProxies,
        outboundAllow, webhookAllow, maximumConnections, tlsCertificate, tlsKey, portalURL, portalFrameAncestors,
        mailFrom, sendmail,
        shutdownSeconds, invoiceGraceHours, sellerName, sellerDetails,
    ]

    /// Read by what stands beside the service: `turnpike token`, documented commands, the compose file, the hook for
    /// LiteLLM, the tests of this repository. They may stand in the environment all the same.
    static let foreign: Set<String> = [
        "TURNPIKE_API_KEY", "TURNPIKE_CLIENT_SECRET", "TURNPIKE_CONTINUED_TOKENS", "TURNPIKE_DB_PASSWORD",
        "TURNPIKE_EVENT_TYPE", "TURNPIKE_KEY", "TURNPIKE_MIN_OUTPUT_TOKENS", "TURNPIKE_ON_FAILURE",
        "TURNPIKE_OUTPUT_TOKENS", "TURNPIKE_SERVICE_TIERS", "TURNPIKE_SOURCE", "TURNPIKE_SUBJECT",
        "TURNPIKE_TEST_BINARY",
        "TURNPIKE_TEST_DATABASE_URL", "TURNPIKE_TEST_KEEP_DOCUMENTS", "TURNPIKE_TEST_STORIES", "TURNPIKE_TEST_VENV",
        "TURNPIKE_TIMEOUT_SECONDS", "TURNPIKE_UNCOUNTED_CALLS", "TURNPIKE_URL", "TURNPIKE_USER",
    ]

    private init(_ name: String, _ defaultText: String?, _ summary: String) {
        self.name = name
        self.defaultText = defaultText
        self.summary = summary
    }

    /// For `--help`, in lines that it does not wrap.
    package static var help: String {
        all.map { setting in
            let standard = setting.defaultText.map { " (\($0))" } ?? ""
            let warning = setting.isSecret ? "; prefer the variable, because ps shows flags to every user" : ""
            return "  \(setting.flag)\n" + wrapped("\(setting.name): \(setting.summary)\(standard)\(warning)")
        }.joined(separator: "\n")
    }

    /// Whether its value is shown to nobody.
    var isSecret: Bool {
        [Self.databaseURL, .migrationURL, .operatorKey, .masterKey].contains { $0.name == name }
    }

    private static func wrapped(_ text: String) -> String {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let line = lines.last, line.count + 1 + word.count < 80 {
                lines[lines.count - 1] = "\(line) \(word)"
            } else {
                lines.append("      \(word)")
            }
        }
        return lines.joined(separator: "\n")
    }
}
