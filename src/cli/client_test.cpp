// What the client commands do without a server: manifests, YAML, tables, ports, kubeconfigs.
#include <gtest/gtest.h>

#include <fstream>

#include "cli/client_files.h"
#include "cli/client_forward.h"
#include "cli/client_print.h"
#include "json/parse.h"
#include "kube/decode.h"

namespace mr::cli {
namespace {

kube::Value doc(std::string_view text) { return json::parse(text).value(); }

kube::Value yaml(std::string_view text) {
  std::vector<std::string> duplicates;
  return kube::decode::parse_yaml(text, duplicates).value();
}

TEST(Yaml, SortsKeysAndKeepsListsAtTheirKey) {
  EXPECT_EQ(yaml_text(doc(R"({"b":[{"z":1,"x":[]},[1,[2]]],"a":{"c":{},"d":null}})")),
            "a:\n  c: {}\n  d: null\nb:\n- x: []\n  z: 1\n- - 1\n  - - 2\n");
}

TEST(Yaml, TextsComeBackAsTheyWere) {
  for (const char* s :
       {"",        "plain words", "12",     "0x1f",  "1e3",   "true", "y",      "~",    "null", "2024-01-02", "1:30",
        ".inf",    "- a",         "-",      "a: b",  "a:",    "a #b", "#a",     "*a",   "&a",   "!a",         "%a",
        "@a",      "`a`",         "'",      "\"",    "it's",  "{a}",  "[a]",    "a\n",  "a\nb", "a\n\n",      "\na",
        " a\nb\n", "  a\n b",     "a\t\nb", "a \nb", "\t",    "a\rb", "\x01",   "\x7f", "---",  "...",        "=",
        "<<",      "?",           "? a",    ":",     "é日本", "a\\b", "a\"b\n", "|",    ">"}) {
    auto text = yaml_text(kube::Object{{"k", kube::Array{s}}, {s, 1}});
    auto back = yaml(text);
    EXPECT_EQ(back.at("k").at(0), kube::Value(s)) << text;
    EXPECT_TRUE(back.get_object().contains(s)) << text;
  }
}

TEST(Table, ColumnsStandUnderTheirNamesAndKeepTheirWidths) {
  TablePrinter p({.name_prefix = "pod/"});
  EXPECT_EQ(p.print(doc(R"({"columnDefinitions":[{"name":"Name"},{"name":"Ready"},{"name":"IP","priority":1}],
                            "rows":[{"cells":["long-name","1/1","x"]},{"cells":["b",2,"y"]}]})")
                        .get_object()),
            "NAME            READY\npod/long-name   1/1\npod/b           2\n");
  EXPECT_EQ(p.print(doc(R"({"rows":[{"cells":["c","a\nb\u001b[31m"]}]})").get_object()), "pod/c           a...\n");
}

TEST(Table, ControlCharactersDoNotReachTheTerminal) {
  TablePrinter p({.headers = false});
  EXPECT_EQ(p.print(doc(R"({"columnDefinitions":[{"name":"N"}],"rows":[{"cells":["a\u001b[31mb"]}]})").get_object()),
            "a [31mb\n");
}

TEST(Manifests, SeveralDocumentsAndForms) {
  auto m = parse_manifests(
      "# only words\n---\napiVersion: v1\nkind: A\n--- # next\n{apiVersion: v1, kind: B}\n---\n"
      "{\"apiVersion\":\"v1\",\"kind\":\"C\"} {\"apiVersion\":\"v1\",\"kind\":\"D\"}\n---\n---\n"
      "apiVersion: v1\nkind: XList\nitems:\n- {apiVersion: v1, kind: E}\n",
      "f");
  ASSERT_TRUE(m) << m.error().message;
  std::string kinds;
  for (const auto& x : *m) kinds += kube::kind_of(x.object);
  EXPECT_EQ(kinds, "ABCDE");
  EXPECT_EQ((*m)[1].from, "f, document 2");
}

TEST(Manifests, SayWhatIsWrong) {
  auto why = [](std::string_view text) {
    auto m = parse_manifests(text, "f");
    return m ? std::string("fine") : m.error().message;
  };
  EXPECT_NE(why("kind: A").find("apiVersion is not set"), std::string::npos);
  EXPECT_NE(why("[1]").find("an object is expected"), std::string::npos);
  EXPECT_NE(why("{\"a\":").find("not JSON"), std::string::npos);
  EXPECT_NE(why("a: 1\na: 2").find('a'), std::string::npos);
  EXPECT_NE(why("a: b: c").find("f: "), std::string::npos);
  EXPECT_EQ(why(std::string(400, '[')).find("fine"), std::string::npos);
  EXPECT_EQ(why(std::string(400, '{')).find("fine"), std::string::npos);
}

TEST(Ports, OfPodsAndServices) {
  auto pod =
      doc(R"({"metadata":{"name":"p"},"spec":{"containers":[{"ports":[{"name":"web","containerPort":8000}]}]}})");
  auto service = doc(R"({"metadata":{"name":"s"},"spec":{"ports":[
      {"port":80,"name":"http","targetPort":"web"},{"port":81,"targetPort":9000},{"port":82},{"port":83,"targetPort":"no"}]}})");
  auto pair = [&](std::string_view text, bool through_service) {
    auto p = port_pair(text, pod.get_object(), through_service ? &service.get_object() : nullptr);
    return p ? fmt::format("{}:{}", p->local, p->remote) : p.error().message;
  };
  EXPECT_EQ(pair("8080:80", false), "8080:80");
  EXPECT_EQ(pair("80", false), "80:80");
  EXPECT_EQ(pair(":80", false), "0:80");
  EXPECT_EQ(pair("web", false), "8000:8000");
  EXPECT_EQ(pair("80", true), "80:8000");
  EXPECT_EQ(pair("8080:http", true), "8080:8000");
  EXPECT_EQ(pair("81", true), "81:9000");
  EXPECT_EQ(pair(":82", true), "0:82");
  for (const char* bad : {"", ":", "x", "0", "65536", "8080:", "a:80", "-1:80", "1:2:3"})
    EXPECT_NE(pair(bad, false).find('\''), std::string::npos) << bad;
  EXPECT_NE(pair("83", true).find("none of that name"), std::string::npos);
  EXPECT_NE(pair("90", true).find("it has 80 (http), 81, 82, 83"), std::string::npos);
}

class Kubeconfig : public ::testing::Test {
 protected:
  std::string write(const std::string& name, std::string_view text) {
    auto path = (folder_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / fmt::format("millrace-kubeconfig-{}", ::getpid());
};

TEST_F(Kubeconfig, TheCurrentContextOfSeveralFiles) {
  write("token", "abc\n");
  auto one = write("one",
                   "current-context: b\ncontexts:\n- {name: a, context: {cluster: x}}\n"
                   "- {name: b, context: {cluster: y, user: u, namespace: n}}\n");
  auto two = write("two",
                   "current-context: a\nclusters:\n- {name: y, cluster: {server: 'https://h:1/', "
                   "certificate-authority-data: Y2E=, tls-server-name: s}}\n"
                   "users:\n- {name: u, user: {tokenFile: token}}\n");
  auto a = read_access({one, (folder_ / "absent").string(), two});
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->server, "https://h:1");
  EXPECT_EQ(a->ns, "n");
  EXPECT_EQ(a->token, "abc");
  EXPECT_EQ(a->tls.ca_pem, "ca");
  EXPECT_EQ(a->tls.server_name, "s");
}

TEST_F(Kubeconfig, SaysWhatIsMissing) {
  auto why = [&](std::string_view text) {
    auto a = read_access({write("c", text)});
    return a ? std::string("fine") : a.error().message;
  };
  EXPECT_NE(why("").find("no kubeconfig"), std::string::npos);
  EXPECT_NE(why("a: [").find("no kubeconfig"), std::string::npos);
  EXPECT_NE(why("a: b").find("no current-context"), std::string::npos);
  EXPECT_NE(why("current-context: c").find("no entry 'c' under contexts"), std::string::npos);
  EXPECT_NE(why("current-context: [c]").find("no current-context"), std::string::npos);
  EXPECT_NE(why("current-context: c\ncontexts: [{name: c, context: {cluster: k}}]").find("under clusters"),
            std::string::npos);
  EXPECT_NE(why("current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n"
                "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority-data: '%'}}]")
                .find("not base64"),
            std::string::npos);
  EXPECT_NE(why("current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
                "clusters: [{name: k, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {exec: {command: x}}}]")
                .find("another program"),
            std::string::npos);
}

}  // namespace
}  // namespace mr::cli
