import Foundation

extension Configuration {
    /// The URL of the customers' page, without the token that follows behind a `#`.
    var portalURL: String {
        ownPortalURL ?? "\(ownURL)/portal"
    }
}

extension SettingsReader {
    mutating func portalURL() -> String? {
        value(.portalURL, fallback: nil, expecting: "an http or https URL without query and fragment") { text in
            guard let url = URLComponents(string: text), ["http", "https"].contains(url.scheme),
                url.host?.isEmpty == false, url.query == nil, url.fragment == nil, url.user == nil
            else { return nil }
            return text
        }
    }

    /// Every part must be an origin. It is written into a header as it is, so nothing else may be in it.
    mutating func origins(_ setting: Setting) -> [String] {
        list(setting).compactMap { text in
            let isOrigin = text.wholeMatch(of: /https?:\/\/(\*\.)?[A-Za-z0-9.\-]+(:[0-9]{1,5})?/) != nil
            if !isOrigin {
                fault(setting, "must be origins such as https://app.example.com, separated by commas, not '\(text)'")
            }
            return isOrigin ? text : nil
        }
    }
}
