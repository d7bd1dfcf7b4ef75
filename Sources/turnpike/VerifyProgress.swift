import Foundation
import Usage

/// How far `verify` has come, on standard error: on a terminal one line that is written over, else a line every few
/// seconds.
struct VerifyProgress {
    private static let terminalPause = Duration.milliseconds(100)
    private static let filePause = Duration.seconds(5)

    private let isQuiet: Bool
    private let isTerminal = Terminal.isTerminal(STDERR_FILENO)
    private let started = ContinuousClock.now
    private var shown = ContinuousClock.now
    private var isLineOpen = false
    private var latest = UsageVerification.Progress()

    init(isQuiet: Bool) {
        self.isQuiet = isQuiet
    }

    mutating func show(_ progress: UsageVerification.Progress) {
        latest = progress
        let now = ContinuousClock.now
        guard !isQuiet, now - shown >= (isTerminal ? Self.terminalPause : Self.filePause) else { return }
        shown = now
        let text = "verifying: \(amounts)"
        Terminal.write(isTerminal ? "\r\u{1B}[2K\(text)" : text + "\n", to: .standardError)
        isLineOpen = isTerminal
    }

    /// Makes room on the terminal for a line of another kind.
    mutating func clear() {
        guard isLineOpen else { return }
        Terminal.write("\r\u{1B}[2K", to: .standardError)
        isLineOpen = false
    }

    /// - Parameter total: of the whole verification: the last difference may have been found after the last progress.
    mutating func finish(_ total: UsageVerification.Progress) {
        clear()
        latest = total
        guard !isQuiet else { return }
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        let verdict =
            latest.differences == 0
            ? "no differences: the stored usage is what the events give"
            : Terminal.count(latest.differences, "difference")
        let took = seconds.formatted(.number.precision(.fractionLength(1)))
        Terminal.write("\(verdict) (\(amounts), \(took) s)\n", to: .standardError)
    }

    private var amounts: String {
        let found = latest.differences == 0 ? "" : ", \(Terminal.count(latest.differences, "difference"))"
        let invoices = latest.invoices == 0 ? "" : ", \(Terminal.count(latest.invoices, "invoice"))"
        let tenants = Terminal.count(latest.tenants, "tenant")
        return "\(tenants), \(Terminal.count(latest.events, "event"))\(invoices)\(found)"
    }
}
