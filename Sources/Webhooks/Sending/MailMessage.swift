import BillingCore
import Foundation

/// One mail of plain text in the form of RFC 5322 and MIME. Values go into the body, which is base64, or into the
/// subject, which is an encoded word: none of them can be read as a header.
struct MailMessage: Sendable {
    let from: MailAddress
    let recipient: MailAddress
    let subject: String
    let text: String
    /// The same for every attempt, so that a mail that comes twice can be known as one.
    let id: String
    let date: Instant

    init(_ event: ClaimedDelivery.Event, from: MailAddress, to recipient: MailAddress, at now: Instant) {
        let words = EventText(event)
        self.from = from
        self.recipient = recipient
        subject = words.title
        text =
            words.lines.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
            + "\n\nevent \(event.id), \(event.occurredAt)\n"
        id = event.id.description
        date = now
    }

    /// With the line ends that `sendmail` takes.
    var bytes: [UInt8] {
        let headers = [
            "From: \(from)", "To: \(recipient)", "Subject: \(Self.encodedWords(subject))",
            "Date: \(Self.date(date))", "Message-ID: <\(id)@\(from.domain)>", "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: base64",
        ]
        let body = Data(text.utf8).base64EncodedString(options: [.lineLength76Characters, .endLineWithLineFeed])
        return Array((headers.joined(separator: "\n") + "\n\n" + body + "\n").utf8)
    }

    /// RFC 2047: pieces of whole characters, each short enough for a line.
    private static func encodedWords(_ text: String) -> String {
        var pieces: [String] = []
        for character in text.prefix(200) {
            if let last = pieces.last, last.utf8.count + character.utf8.count <= 42 {
                pieces[pieces.count - 1] = last + String(character)
            } else {
                pieces.append(String(character))
            }
        }
        return pieces.map { "=?utf-8?B?\(Data($0.utf8).base64EncodedString())?=" }.joined(separator: "\n ")
    }

    /// RFC 5322, section 3.3, in UTC.
    private static func date(_ instant: Instant) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(secondsFromGMT: 0)
        formatter.dateFormat = "EEE, d MMM yyyy HH:mm:ss Z"
        return formatter.string(from: Date(timeIntervalSince1970: Double(instant.microseconds / 1_000_000)))
    }
}
