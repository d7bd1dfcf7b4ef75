import TestSupport
import Testing
import Webhooks
import Yams

/// The events of the program, and those of the document.
struct WebhookContractTests {
    @Test("every event that may be told is in the document with an example, and no others are")
    func eventsAreDocumented() throws {
        let document = try ContractDocument()
        let hooks = try #require(document.root["webhooks"]?.mapping)
        let names = Array(hooks.keys).compactMap(\.string)
        #expect(Set(names) == Set(WebhookEventType.allCases.map(\.rawValue)))
        #expect(try document.schema("WebhookEventType")["enum"]?.sequence?.compactMap(\.string) == names)
        for (name, item) in hooks {
            let content = item["post"]?["requestBody"]?["content"]?["application/json"]
            #expect(content?["example"]?["type"]?.string == name.string, "\(name.string ?? "")")
            let reference = content?["schema"]?["$ref"]?.string?.split(separator: "/").last.map(String.init)
            let schema = try document.schema(try #require(reference))
            let types = schema["properties"]?["type"]?["enum"]?.sequence?.compactMap(\.string) ?? []
            #expect(types.contains(name.string ?? ""), "\(name.string ?? "") is not in \(reference ?? "")")
        }
    }
}
