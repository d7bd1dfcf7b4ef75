import Yams
import Testing
