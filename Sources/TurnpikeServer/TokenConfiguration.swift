import Foundation
package import Identity

/// What is told from outside about the tokens the service issues.
package struct TokenConfiguration: Sendable {
    /// Nil issues no tokens.
    package var masterKey: MasterKey?
    /// Nil is `Configuration.ownURL`.
    package var issuer: String?
    package var lifetimeSeconds: Int64 = 900
    package var algorithm = SignatureAlgorithm.es256
    package var signingKeyDays: Int64 = 30

    init() {}

    init(reading reader: inout SettingsReader) {
        masterKey = reader.value(
            .masterKey,
            fallback: nil,
            expecting: MasterKey.expectation
        ) { MasterKey(parsing: $0) }
        issuer = reader.value(
            .issuer,
            fallback: nil,
            expecting: "an http or https URL without query, fragment and slash at its end"
        ) { Self.issuer($0) }
        lifetimeSeconds = Int64(reader.integer(.tokenSeconds, in: 60...Int(OAuthSettings.maximumTokenSeconds)))
        algorithm = reader.value(
            .tokenAlgorithm,
            fallback: .es256,
            expecting: SignatureAlgorithm.allCases.map(\.rawValue).joined(separator: " or ")
        ) { SignatureAlgorithm(rawValue: $0) }
        signingKeyDays = Int64(reader.integer(.signingKeyDays, in: 1...365))
    }

    /// What RFC 8414, section 2, allows, and http for trying things out.
    private static func issuer(_ text: String) -> String? {
        guard let url = URLComponents(string: text), ["http", "https"].contains(url.scheme),
            url.host?.isEmpty == false, url.query == nil, url.fragment == nil, url.user == nil, !text.hasSuffix("/")
        else { return nil }
        return text
    }
}

extension Configuration {
    /// How tokens are issued; nil without a master key.
    var oauth: OAuthSettings? {
        tokens.masterKey.map { masterKey in
            var settings = OAuthSettings(masterKey: masterKey, issuer: tokens.issuer ?? ownURL)
            settings.tokenSeconds = tokens.lifetimeSeconds
            settings.algorithm = tokens.algorithm
            settings.signingKeyDays = tokens.signingKeyDays
            return settings
        }
    }
}
