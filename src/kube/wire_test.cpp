#include "kube/wire.h"

#include <gtest/gtest.h>

#include "json/parse.h"
#include "kube/json_path.h"
#include "kube/table_cells.h"

namespace mr::kube {
namespace {

Value parsed(std::string_view text) {
  auto v = json::parse(text, 200);
  EXPECT_TRUE(v) << text.substr(0, 200);
  return v ? *v : Value();
}
Object object(std::string_view text) { return parsed(text).as_object(); }

KindPtr widget(Value schema) {
  auto k = std::make_shared<Kind>();
  k->group = "stable.example.com";
  k->kind = "Widget";
  k->plural = "widgets";
  k->singular = "widget";
  k->list_kind = "WidgetList";
  k->crd = true;
  k->verbs = {"create", "delete", "get", "list", "patch", "update", "watch"};
  KindVersion v;
  v.name = "v1";
  v.storage = true;
  v.columns = {{"Size", "integer", {}, {}, ".spec.size", {}, 0},
               {"Ready", "string", {}, {}, ".status.conditions[?(@.type==\"Ready\")].status", {}, 0},
               {"Hosts", "string", {}, {}, ".spec.hosts", {}, 1}};
  k->versions.push_back(v);
  k->crd_schemas = Object{{"v1", std::move(schema)}};
  return k;
}

TEST(Discovery, ListsKindsAndTheirParts) {
  const Kinds kinds;
  const auto core = parsed(aggregated_discovery(kinds, true, "v2"));
  EXPECT_EQ(text_at(core.as_object(), "apiVersion"), "apidiscovery.k8s.io/v2");
  const auto& resources = array_at(core.as_object(), "items.0.versions.0.resources");
  const auto pods = std::ranges::find_if(resources, [](const Value& r) { return r.at("resource") == "pods"; });
  ASSERT_NE(pods, resources.end());
  EXPECT_EQ(text_at(pods->as_object(), "shortNames.0"), "po");
  EXPECT_EQ(text_at(pods->as_object(), "categories.0"), "all");
  bool eviction = false;
  for (const auto& s : array_at(pods->as_object(), "subresources"))
    eviction |= s.at("subresource") == "eviction" && s.at("responseKind").at("group") == "policy";
  EXPECT_TRUE(eviction);

  const auto list = parsed(*api_resource_list(kinds, "apps", "v1"));
  bool scale = false;
  for (const auto& r : array_at(list.as_object(), "resources"))
    scale |= r.at("name") == "deployments/scale" && r.at("kind") == "Scale" && r.at("group") == "autoscaling";
  EXPECT_TRUE(scale);
  EXPECT_FALSE(api_resource_list(kinds, "apps", "v9"));
  EXPECT_EQ(text_at(parsed(*api_group(kinds, "networking.istio.io")).as_object(), "preferredVersion.version"), "v1");
  EXPECT_FALSE(api_group(kinds, "nobody.example.com"));
}

TEST(Discovery, ShowsACustomKindAsSoonAsItIsThere) {
  Kinds kinds;
  EXPECT_EQ(aggregated_discovery(kinds, false, "v2").find("widgets"), std::string::npos);
  kinds.put(widget(Object{{"type", "object"}}));
  EXPECT_NE(aggregated_discovery(kinds, false, "v2").find("widgets"), std::string::npos);
  EXPECT_NE(api_group_list(kinds).find("stable.example.com"), std::string::npos);
  kinds.remove("stable.example.com", "widgets");
  EXPECT_EQ(aggregated_discovery(kinds, false, "v2").find("widgets"), std::string::npos);
}

TEST(OpenApi, EveryDocumentIsWholeAndItsReferencesLeadSomewhere) {
  Kinds kinds;
  kinds.put(widget(Object{{"type", "object"}, {"properties", Object{{"spec", Object{{"type", "object"}}}}}}));
  const auto index = parsed(openapi_index(kinds));
  for (const auto& [path, entry] : object_at(index.as_object(), "paths")) {
    const auto text = openapi_document(kinds, path);
    ASSERT_TRUE(text) << path;
    const auto document = parsed(*text);
    const auto& schemas = object_at(document.as_object(), "components.schemas");
    constexpr std::string_view reference = "#/components/schemas/";
    for (auto at = text->find(reference); at != std::string::npos; at = text->find(reference, at + 1)) {
      const auto start = at + reference.size();
      const auto name = text->substr(start, text->find('"', start) - start);
      ASSERT_TRUE(schemas.contains(name)) << path << " " << name;
    }
  }
  EXPECT_FALSE(openapi_document(kinds, "apis/nobody/v1"));
}

TEST(OpenApi, SaysWhatClientsAskBeforeTheyApply) {
  const Kinds kinds;
  const auto apps = parsed(*openapi_document(kinds, "apis/apps/v1"));
  const auto& paths = apps.at("paths").as_object();
  const auto& patch = paths.at("/apis/apps/v1/namespaces/{namespace}/deployments/{name}").at("patch");
  EXPECT_EQ(patch.at("x-kubernetes-group-version-kind").at("kind"), "Deployment");
  bool validation = false;
  for (const auto& p : patch.at("parameters").as_array()) validation |= p.at("name") == "fieldValidation";
  EXPECT_TRUE(validation);
  EXPECT_TRUE(patch.at("requestBody").at("content").as_object().contains("application/strategic-merge-patch+json"));
  const auto isvc = parsed(*openapi_document(kinds, "apis/serving.kserve.io/v1beta1"));
  const auto& custom = isvc.at("paths")
                           .as_object()
                           .at("/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices/{name}")
                           .at("patch");
  EXPECT_FALSE(custom.at("requestBody").at("content").as_object().contains("application/strategic-merge-patch+json"));
}

TEST(OpenApi, TheHashFollowsTheSchema) {
  Kinds a, b;
  a.put(widget(Object{{"type", "object"}}));
  b.put(widget(Object{{"type", "object"}, {"description", "another"}}));
  EXPECT_NE(openapi_index(a), openapi_index(b));
  Kinds c;
  c.put(widget(Object{{"type", "object"}}));
  EXPECT_EQ(openapi_index(a), openapi_index(c));
}

TEST(Table, HumanDurations) {
  const std::pair<std::int64_t, std::string_view> cases[] = {{-2, "<invalid>"},
                                                             {-1, "0s"},
                                                             {0, "0s"},
                                                             {119, "119s"},
                                                             {120, "2m"},
                                                             {185, "3m5s"},
                                                             {600, "10m"},
                                                             {3600 * 3 - 1, "179m"},
                                                             {3600 * 3, "3h"},
                                                             {3600 * 5 + 60, "5h1m"},
                                                             {3600 * 8, "8h"},
                                                             {3600 * 47, "47h"},
                                                             {3600 * 48, "2d"},
                                                             {3600 * 75, "3d3h"},
                                                             {86400 * 8, "8d"},
                                                             {86400 * 729, "729d"},
                                                             {86400LL * 731, "2y1d"},
                                                             {86400LL * 365 * 9, "9y"}};
  for (const auto& [seconds, text] : cases) EXPECT_EQ(table::human_duration(seconds), text) << seconds;
}

TEST(Table, Times) {
  EXPECT_EQ(table::parse_time("1970-01-01T00:00:01Z"), 1000);
  EXPECT_EQ(table::parse_time("1970-01-01T01:00:01.5+01:00"), 1500);
  for (const auto* bad :
       {"", "now", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:00Zx"})
    EXPECT_FALSE(table::parse_time(bad)) << bad;
}

TEST(Table, CustomColumns) {
  const auto kind = widget(nullptr);
  const auto o = object(R"({"metadata":{"name":"w"},"spec":{"size":3,"hosts":["a","b"]},
    "status":{"conditions":[{"type":"Other","status":"False"},{"type":"Ready","status":"True"}]}})");
  EXPECT_EQ(json::serialize(table_cells(*kind, kind->versions[0], o)), R"(["w",3,"True","[\"a\",\"b\"]"])");
  EXPECT_EQ(json::serialize(table_cells(*kind, kind->versions[0], object(R"({"metadata":{"name":"w"}})"))),
            R"(["w",null,null,null])");
  const auto columns = table_columns(*kind, kind->versions[0]);
  EXPECT_EQ(columns[0].format, "name");
  EXPECT_EQ(columns[1].description, "Custom resource definition column (in JSONPath format): .spec.size");
}

TEST(Table, APodInOneWord) {
  const Kinds kinds;
  const auto pods = kinds.find("", "v1", "pods");
  auto word = [&](std::string_view spec, std::string_view status, std::string_view metadata = "{}") {
    const auto o = object(fmt::format(R"({{"metadata":{},"spec":{},"status":{}}})", metadata, spec, status));
    const auto cells = table_cells(*pods, pods->versions[0], o);
    return fmt::format("{} {} {}", std::string_view(cells[1].as_string()), std::string_view(cells[2].as_string()),
                       std::string_view(cells[3].as_string()));
  };
  constexpr std::string_view one = R"({"containers":[{"name":"c"}]})";
  EXPECT_EQ(word(one, R"({"phase":"Pending"})"), "0/1 Pending 0");
  EXPECT_EQ(word(one, R"({"phase":"Running","containerStatuses":[{"name":"c","ready":true,"state":{"running":{}}}]})"),
            "1/1 Running 0");
  EXPECT_EQ(word(one, R"({"phase":"Running","containerStatuses":[{"name":"c","restartCount":4,
              "state":{"waiting":{"reason":"CrashLoopBackOff"}}}]})"),
            "0/1 CrashLoopBackOff 4");
  EXPECT_EQ(word(one, R"({"phase":"Succeeded","containerStatuses":[{"name":"c",
              "state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]})"),
            "0/1 Completed 0");
  EXPECT_EQ(word(one, R"({"phase":"Running"})", R"({"deletionTimestamp":"2026-01-01T00:00:00Z"})"),
            "0/1 Terminating 0");
  EXPECT_EQ(word(R"({"containers":[{"name":"c"}],"initContainers":[{"name":"i"},{"name":"j"}]})",
                 R"({"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"terminated":{"exitCode":0}}},
                    {"name":"j","state":{"running":{}}}]})"),
            "0/1 Init:1/2 0");
  EXPECT_EQ(word(one, R"({"phase":"Failed","containerStatuses":[{"name":"c","state":{"terminated":{"exitCode":3}}}]})"),
            "0/1 ExitCode:3 0");
}

TEST(Table, Documents) {
  const Kinds kinds;
  const auto kind = kinds.find("", "v1", "configmaps");
  const auto o = std::make_shared<const Object>(object(R"({"metadata":{"name":"a"},"data":{"x":"1"}})"));
  const auto whole = parsed(table_document(*kind, kind->versions[0], {o}, R"({"resourceVersion":"7"})", {}));
  EXPECT_EQ(text_at(whole.as_object(), "metadata.resourceVersion"), "7");
  EXPECT_EQ(text_at(whole.as_object(), "rows.0.object.kind"), "PartialObjectMetadata");
  EXPECT_EQ(array_at(whole.as_object(), "columnDefinitions").size(), 3U);
  const auto bare = parsed(table_document(*kind, kind->versions[0], {o}, {}, {.no_object = true}, false));
  EXPECT_TRUE(at(bare.as_object(), "rows.0.object")->is_null());
  EXPECT_TRUE(bare.at("columnDefinitions").is_null());
}

TEST(Table, TellsWhichPodsHaveEnded) {
  const Kinds kinds;
  const auto kind = kinds.find("", "v1", "pods");
  const auto o = std::make_shared<const Object>(object(R"({"metadata":{"name":"a"},"status":{"phase":"Failed"}})"));
  const auto table = parsed(table_document(*kind, kind->versions[0], {o}, {}, {.version = "v1beta1"}));
  EXPECT_EQ(text_at(table.as_object(), "apiVersion"), "meta.k8s.io/v1beta1");
  EXPECT_EQ(text_at(table.as_object(), "rows.0.conditions.0.reason"), "Failed");
}

TEST(Yaml, QuotesWhatWouldReadOtherwise) {
  EXPECT_EQ(
      yaml_text(parsed(R"({"b":{"n":1,"s":"1","y":"yes","t":"2026-01-01","e":{}},"a":[{"k":"v","l":["x"]},"w: x"]})")),
      "a:\n- k: v\n  l:\n  - x\n- \"w: x\"\n"
      "b:\n  e: {}\n  \"n\": 1\n  s: \"1\"\n  t: \"2026-01-01\"\n  \"y\": \"yes\"\n");
}

TEST(JsonPath, FindsWhatTheSubsetNames) {
  const Value v = object(R"({"a":{"b.c":1,"list":[{"n":1,"on":true},{"n":2},{"n":3,"t":"x"}]}})");
  auto found = [&](std::string_view path) {
    std::string out;
    for (const auto* x : json_path(v, path)) out += json::serialize(*x) + ";";
    return out;
  };
  EXPECT_EQ(found(".a['b.c']"), "1;");
  EXPECT_EQ(found(".a.b\\.c"), "1;");
  EXPECT_EQ(found("{.a.list[0].n}"), "1;");
  EXPECT_EQ(found(".a.list[-1].n"), "3;");
  EXPECT_EQ(found(".a.list[*].n"), "1;2;3;");
  EXPECT_EQ(found(".a.list[?(@.n>=2)].n"), "2;3;");
  EXPECT_EQ(found(".a.list[?(@.on==true)].n"), "1;");
  EXPECT_EQ(found(".a.list[?(@.t=='x')].n"), "3;");
  EXPECT_EQ(found(".a.list[?(@.t)].n"), "3;");
  EXPECT_EQ(found(".a.nothing.b"), "");
  for (const auto* bad : {"a", ".a[", ".a[x]", ".a..b", ".a[?(n==1)]", ".a[?(@.n==x)]"})
    EXPECT_FALSE(json_path_valid(bad)) << bad;
}

}  // namespace
}  // namespace mr::kube
