import Hummingbird
import Crypto
import Metrics
package enum WebRoom {}
