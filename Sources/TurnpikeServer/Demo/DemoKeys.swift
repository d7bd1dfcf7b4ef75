package import Foundation
package import Identity

/// The keys of the demo, kept in a file that a shell can read, so that they survive a restart.
package struct DemoKeys: Sendable {
    package let operatorKey: APIKeyText
    /// May write events for every tenant.
    package internal(set) var gatewayKey: APIKeyText?
    /// May read quotas and invoices of the tenant `acme`.
    package internal(set) var portalKey: APIKeyText?

    private enum Name: String, CaseIterable {
        case operatorKey = "OPERATOR_KEY"
        case gatewayKey = "GATEWAY_KEY"
        case portalKey = "PORTAL_KEY"
    }

    /// Reads the file. What is missing or not a key is made anew.
    package init(file: URL) {
        let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
        var found: [Name: APIKeyText] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.trimmingPrefix("export ").split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let name = Name(rawValue: String(parts[0])) else { continue }
            found[name] = try? APIKeyText(parsing: String(parts[1]))
        }
        operatorKey = found[.operatorKey] ?? APIKeyText()
        gatewayKey = found[.gatewayKey]
        portalKey = found[.portalKey]
    }

    /// Writes the file whole, readable by its owner only.
    /// - Parameter settings: other variables that go with the keys, such as where the service listens.
    package func write(to file: URL, settings: [(name: String, value: String)]) throws {
        var lines = ["# Made by `turnpike dev` at every start. Load it into a shell with: . \(Self.quoted(file.path))"]
        lines += settings.map { "export \($0.name)=\(Self.quoted($0.value))" }
        lines += Name.allCases.compactMap { name in self[name].map { "export \(name.rawValue)=\($0.text)" } }
        let temporary = file.appendingPathExtension("new")
        try? FileManager.default.removeItem(at: temporary)
        guard
            FileManager.default.createFile(
                atPath: temporary.path,
                contents: Data((lines.joined(separator: "\n") + "\n").utf8),
                attributes: [.posixPermissions: 0o600]
            )
        else { throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: temporary.path]) }
        guard rename(temporary.path, file.path) == 0 else {
            throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: file.path])
        }
    }

    private subscript(name: Name) -> APIKeyText? {
        switch name {
        case .operatorKey: operatorKey
        case .gatewayKey: gatewayKey
        case .portalKey: portalKey
        }
    }

    private static func quoted(_ text: String) -> String {
        "'" + text.replacing("'", with: #"'\''"#) + "'"
    }
}
