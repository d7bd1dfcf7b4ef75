// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")

/// The targets in the order of the architecture: a target depends only on targets above it.
let package = Package(
    name: "turnpike",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "turnpike", targets: ["turnpike"])
    ],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0", traits: []),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.30.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache.git", from: "2.1.1"),
        .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.30.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .target(name: "Postgres", dependencies: ["CLibPQ", logging, lifecycle], swiftSettings: settings),
        // Unoptimised, the arithmetic of wide integers took a tenth of the time of all tests (ADR 0047).
        .target(
            name: "BillingCore",
            swiftSettings: settings + [.unsafeFlags(["-O"], .when(configuration: .debug))]
        ),
        .target(
            name: "Web",
            dependencies: [
                "Postgres", "BillingCore", hummingbird, logging, metrics, lifecycle, crypto, nioCore, httpTypes,
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                nioHTTP1, .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Identity",
            dependencies: [
                "Web", crypto, logging, metrics, lifecycle, nioCore, nioHTTP1, httpTypes,
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Webhooks",
            dependencies: ["Identity", "CLibPQ", crypto, httpTypes, logging, metrics, lifecycle],
            swiftSettings: settings
        ),
        .target(
            name: "Catalog",
            dependencies: [
                "Webhooks", .product(name: "OrderedCollections", package: "swift-collections"), lifecycle,
            ],
            swiftSettings: settings
        ),
        .target(name: "Limits", dependencies: ["Catalog", crypto, metrics], swiftSettings: settings),
        .target(
            name: "Usage",
            dependencies: ["Limits", crypto, nioCore, metrics],
            swiftSettings: settings
        ),
        .systemLibrary(
            name: "CPangoCairo",
            pkgConfig: "pangocairo",
            providers: [.apt(["libpango1.0-dev", "libcairo2-dev"])]
        ),
        .target(
            name: "Admission",
            dependencies: [
                "Usage", httpTypes, nioCore, logging, metrics, lifecycle,
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),
        .target(name: "CEmbedded"),
        .target(
            name: "Invoicing",
            dependencies: [
                "Usage", "CPangoCairo", "CEmbedded", crypto, httpTypes, nioCore, logging, lifecycle, metrics,
                .product(name: "Mustache", package: "swift-mustache"),
            ],
            exclude: ["Documents/Templates"],
            swiftSettings: settings
        ),
        .target(name: "Guard", dependencies: ["Catalog", logging, lifecycle], swiftSettings: settings),
        .target(
            name: "Console",
            dependencies: ["Web", "CEmbedded", crypto, httpTypes],
            exclude: ["Portal/Pages"],
            swiftSettings: settings
        ),
        .target(
            name: "TurnpikeServer",
            dependencies: [
                "Admission", "Invoicing", "Guard", "Console", "CEmbedded", lifecycle, logging, metrics, httpTypes,
                nioCore,
                nioPosix,
                nioHTTP1,
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "turnpike",
            dependencies: [
                "TurnpikeServer", logging, nioCore, nioHTTP1, unixSignals,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
            ],
            swiftSettings: settings
        ),
        .systemLibrary(name: "CEpoll"),
        .executableTarget(
            name: "turnpike-bench",
            dependencies: [
                "Postgres", "CEpoll", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "bench",
            exclude: ["README.md"],
            swiftSettings: settings
        ),
        .target(
            name: "TestSupport",
            dependencies: [
                "TurnpikeServer", .product(name: "AsyncHTTPClient", package: "async-http-client"), nioCore, nioPosix,
                logging, crypto, nioHTTP1,
            ],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
    ]
        + [
            "Postgres", "BillingCore", "Web", "Identity", "Webhooks", "Catalog", "Limits", "Usage", "Admission",
            "Invoicing", "Guard", "Console", "TurnpikeServer",
        ]
        .map { room in
            .testTarget(
                name: "\(room)Tests",
                dependencies: [.init(stringLiteral: room), "TestSupport"],
                swiftSettings: settings
            )
        }
        + [
            .testTarget(
                name: "ScenariosTests",
                dependencies: ["TestSupport"],
                exclude: ["invoices", "limits", "litellm", "oauth", "quarter"],
                swiftSettings: settings
            ),
            .testTarget(
                name: "ContractTests",
                dependencies: ["TestSupport", "Web", "Webhooks", crypto, .product(name: "Yams", package: "Yams")],
                exclude: ["check_document.py", "check_webhooks.py", "schemathesis.toml"],
                swiftSettings: settings
            ),
        ]
)
