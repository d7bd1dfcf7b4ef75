import Testing

@testable import Postgres

/// What waits for a reader of a listener who is slow.
@Suite struct MailboxTests {
    private func said(_ number: Int) -> PostgresNotice { .notification(channel: "catalog", payload: "\(number)") }

    private func everything(in mailbox: Mailbox) async -> [PostgresNotice] {
        let end = PostgresNotice.notification(channel: "end", payload: "")
        mailbox.put(end)
        var found: [PostgresNotice] = []
        while let notice = await mailbox.next(), notice != end { found.append(notice) }
        return found
    }

    @Test func whatWaitsIsToldInItsOrder() async {
        let mailbox = Mailbox()
        let all = (1..<Mailbox.limit).map { said($0) }
        for notice in all { mailbox.put(notice) }
        #expect(await everything(in: mailbox) == all)
    }

    /// What was dropped was heard, so it is not what was said while nobody listened.
    @Test func anOverflowIsToldAsSuch() async {
        let mailbox = Mailbox()
        mailbox.put(.reconnected)
        for number in 1...Mailbox.limit { mailbox.put(said(number)) }
        #expect(await everything(in: mailbox) == [.overflowed, said(Mailbox.limit)])
    }

    @Test func ofReconnectionsOneWaitsAndWhatWasSaidBetweenThemIsKept() async {
        let mailbox = Mailbox()
        for number in 1...3 {
            for _ in 1...Mailbox.limit { mailbox.put(.reconnected) }
            mailbox.put(said(number))
        }
        mailbox.put(.reconnected)
        #expect(await everything(in: mailbox) == [said(1), said(2), said(3), .reconnected])
    }
}
