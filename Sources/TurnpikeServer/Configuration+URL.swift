extension Configuration {
    /// Where programs of this machine reach the service: on loopback where it listens everywhere.
    package var reachableHost: String {
        ["0.0.0.0", "::", "*"].contains(host) ? "127.0.0.1" : host
    }

    /// The URL of the service where none is configured. That of port 0 says nothing: which one it will be is known once
    /// it listens.
    package var ownURL: String {
        let scheme = certificate == nil ? "http" : "https"
        let name = reachableHost.contains(":") ? "[\(reachableHost)]" : reachableHost
        return "\(scheme)://\(name):\(port)"
    }
}
