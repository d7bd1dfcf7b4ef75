/// A currency of ISO 4217 that is in use, with the number of its minor units' digits.
///
/// Left out: codes without a minor unit (metals, bond market units, `XDR`, `XTS`, `XXX`).
package struct Currency: Sendable, Hashable {
    /// The three capital letters of ISO 4217.
    package let code: String

    /// How many fractional digits an invoiced amount has: 0 for JPY, 2 for USD, 3 for KWD.
    package let minorUnits: Int

    /// Nil for a code that is not in use or not in capitals.
    package init?(_ code: String) {
        guard let minorUnits = Self.minorUnitsByCode[code] else { return nil }
        self.init(code: code, minorUnits: minorUnits)
    }

    private init(code: String, minorUnits: Int) {
        self.code = code
        self.minorUnits = minorUnits
    }

    package static let usd = Currency(code: "USD", minorUnits: 2)
    package static let eur = Currency(code: "EUR", minorUnits: 2)
    package static let jpy = Currency(code: "JPY", minorUnits: 0)
    package static let kwd = Currency(code: "KWD", minorUnits: 3)

    /// All codes, in alphabetical order.
    package static var codes: [String] { minorUnitsByCode.keys.sorted() }
}

extension Currency: CustomStringConvertible {
    package var description: String { code }
}

extension Currency {
    private static let minorUnitsByCode: [String: Int] = {
        var units: [String: Int] = [:]
        for (digits, codes) in codesByMinorUnits {
            for code in codes.split(whereSeparator: \.isWhitespace) { units[String(code)] = digits }
        }
        return units
    }()

    /// ISO 4217 list one (current currency and funds codes), as of 2026-01-01.
    private static let codesByMinorUnits: [(digits: Int, codes: String)] = [
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
        (
            2,
            """
            AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
            CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL
            HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU
            MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
            SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED
            VES WST XAD XCD XCG YER ZAR ZMW ZWG
            """
        ),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
    ]
}
