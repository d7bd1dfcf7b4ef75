/// Why a call can't be decided.
enum AdmissionRefusal: Error {
    case queueFull
    case stopping
    /// The catalogue changed faster than the call could be prepared.
    case catalogBusy
    /// Nothing was decided within the time that admission takes at most.
    case tooLate
    /// Others have had rows locked for so long that it isn't tried now.
    case rowsLocked
}
