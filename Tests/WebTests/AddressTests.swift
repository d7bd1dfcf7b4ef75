import HTTPTypes
import NIOCore
import Testing

@testable import Web

@Suite struct AddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("::1", "::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("::", "::"), ("0.0.0.0", "0.0.0.0"),
    ])
    func anAddressHasOneForm(_ text: String, _ form: String) throws {
        #expect(try #require(IPAddress(text)).description == form)
    }

    @Test(arguments: ["", "192.0.2", "192.0.2.256", "0x7f.1", "1.2.3.4.5", "fe80::1%eth0", "example.com", " 1.2.3.4"])
    func whatIsNoAddressIsNone(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true), ("0.0.0.0/0", "::1", false), ("0.0.0.0/0", "8.8.8.8", true),
        ("::/0", "8.8.8.8", true), ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::", false), ("192.0.2.7", "192.0.2.7", true), ("192.0.2.7", "192.0.2.6", false),
    ])
    func aRangeHoldsTheAddressesWithItsBeginning(_ range: String, _ address: String, _ isIn: Bool) throws {
        #expect(try #require(AddressRange(range)).contains(try #require(IPAddress(address))) == isIn)
    }

    @Test(arguments: ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "/8", "::1/64", "localhost"])
    func whatIsNoRangeIsNone(_ text: String) {
        #expect(AddressRange(text) == nil)
    }

    /// The caller is at 192.0.2.9 unless the case says so; 10/8 and fd00::/8 are trusted proxies.
    @Test(arguments: [
        ("192.0.2.9", ["X-Forwarded-For": "1.1.1.1"], "192.0.2.9"),
        ("10.0.0.1", [:], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For": "1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["X-Forwarded-For": "6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["X-Forwarded-For": "10.0.0.3,10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["X-Forwarded-For": "6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For": ""], "10.0.0.1"),
        ("10.0.0.1", ["X-Forwarded-For": "1.1.1.1:8080"], "1.1.1.1"),
        ("fd00::1", ["X-Forwarded-For": "[2001:db8::7]:99"], "2001:db8::7"),
        ("10.0.0.1", ["X-Forwarded-For": "2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["Forwarded": "for=6.6.6.6, For=\"[2001:db8::7]:99\";proto=https"], "2001:db8::7"),
        ("10.0.0.1", ["Forwarded": "for=1.1.1.1;by=10.0.0.9, for=10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", ["Forwarded": "for=_hidden"], "10.0.0.1"),
        ("10.0.0.1", ["Forwarded": "for=1.1.1.1;by=10.0.0.9", "X-Forwarded-For": "6.6.6.6, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["Forwarded": "for=6.6.6.6", "X-Forwarded-For": "1.1.1.1"], "10.0.0.1"),
        ("10.0.0.1", ["Forwarded": "for=1.1.1.1", "X-Forwarded-For": "6.6.6.6"], "10.0.0.1"),
        ("10.0.0.1", ["Forwarded": "for=_hidden", "X-Forwarded-For": "6.6.6.6"], "10.0.0.1"),
        ("192.0.2.9", ["Forwarded": "for=6.6.6.6", "X-Forwarded-For": "1.1.1.1"], "192.0.2.9"),
    ])
    func onlyWhatTrustedProxiesReportIsBelieved(
        _ socket: String,
        _ fields: [String: String],
        _ expected: String
    ) throws {
        let ranges = try ["10.0.0.0/8", "fd00::/8"].map { try #require(AddressRange($0)) }
        var headers = HTTPFields()
        for (name, value) in fields { headers[try #require(HTTPField.Name(name))] = value }
        let address = ClientAddresses(trustedProxies: ranges).address(
            of: headers,
            socket: try SocketAddress(ipAddress: socket, port: 1)
        )
        #expect(address.description == expected)
    }
}
