import Foundation

/// What the commands say to people.
enum Terminal {
    /// Whether a person watches, who may be shown colours and lines that are written over.
    static func isTerminal(_ descriptor: Int32) -> Bool {
        isatty(descriptor) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }

    static func write(_ text: String, to file: FileHandle) {
        file.write(Data(text.utf8))
    }

    static func complain(_ text: String) {
        write("error: \(text)\n", to: .standardError)
    }

    /// "1 event", "1,200 events".
    static func count(_ number: Int, _ noun: String, plural: String? = nil) -> String {
        let counted = number == 1 ? noun : plural ?? noun + "s"
        return "\(number.formatted(.number.locale(Locale(identifier: "en_US")))) \(counted)"
    }
}
