// InferenceGraph: conditions, and how requests walk.
#include "serving/controller/graph.h"

#include "json/parse.h"
#include "serving/controller/graph_controller.h"

namespace mr::serving {
namespace {

using kube::Object;

Object obj(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v && v->is_object()) << text;
  return v && v->is_object() ? v->get_object() : Object{};
}

bool holds(std::string_view path, std::string_view document) {
  auto p = JsonPath::parse(path);
  EXPECT_TRUE(p) << path << ": " << (p ? "" : p.error().message);
  auto v = json::parse(document);
  EXPECT_TRUE(v);
  return p && v && p->exists(*v);
}

TEST(GraphCondition, PathsAndQueries) {
  constexpr std::string_view doc =
      R"({"predictions":[{"label":"cat","p":0.9},{"label":"dog","p":0.1}],"n":[1,2,3],"a.b":1,"t":true,"source_type":1})";
  EXPECT_TRUE(holds("predictions.0.label", doc));
  EXPECT_FALSE(holds("predictions.7", doc));
  EXPECT_TRUE(holds("predictions.#", doc));
  EXPECT_TRUE(holds(R"(predictions.#(label=="cat"))", doc));
  EXPECT_TRUE(holds(R"(predictions.#(label==cat).p)", doc));
  EXPECT_FALSE(holds(R"(predictions.#(label=="cow"))", doc));
  EXPECT_TRUE(holds("predictions.#(p>0.5)", doc));
  EXPECT_FALSE(holds("predictions.#(p>=1)", doc));
  EXPECT_TRUE(holds("predictions.#(p>2)#", doc));  // an empty list is there
  EXPECT_TRUE(holds("n.#(>2)", doc));
  EXPECT_FALSE(holds("n.#(>3)", doc));
  EXPECT_TRUE(holds(R"(a\.b)", doc));
  EXPECT_TRUE(holds("pred*.0.l?bel", doc));
  EXPECT_TRUE(holds("[@this].#(source_type==1)", doc));
  EXPECT_FALSE(holds("[@this].#(source_type==2)", doc));
  EXPECT_TRUE(holds(R"([@this].#(predictions.0.label%"c*"))", doc));
  EXPECT_TRUE(holds("[@this].#(t==true)", doc));
  EXPECT_TRUE(holds("predictions.#(label)", doc));
  EXPECT_FALSE(holds("t.x", doc));
}

TEST(GraphCondition, RefusesWhatItDoesNotUnderstand) {
  for (const char* path : {"", "a..b", "@reverse", "{a,b}", "[a,b]", "a.#(b", "a.#(b==\"x)", "a.#()", "a.#(b~true)",
                           "!x", "a.#(b==)", "a#b"})
    EXPECT_FALSE(JsonPath::parse(path)) << path;
  EXPECT_FALSE(JsonPath::parse(std::string(2000, 'a')));
  std::string nested = "a";
  for (int i = 0; i < 10; ++i) nested = "x.#(" + nested + ")";
  EXPECT_FALSE(JsonPath::parse(nested));
}

// Runs a graph whose services answer from a table; without a loop nothing waits.
struct Services {
  std::map<std::string, GraphAnswer> answers;
  std::vector<std::string> calls;
  GraphAnswer run(const Graph& g, std::string body, int draw = 0) {
    GraphAnswer out{-1, ""};
    GraphCall call = [this](std::string url, std::string in) -> task::Task<Result<GraphAnswer>> {
      calls.push_back(url + "<" + in);
      auto it = answers.find(url);
      if (it == answers.end()) co_return fail(Code::unavailable, "refused");
      co_return it->second;
    };
    task::detach([](const Graph& graph, std::string b, GraphCall c, int d, GraphAnswer& into) -> task::Task<void> {
      into = co_await graph.run(std::move(b), c, [d] { return d; });
    }(g, std::move(body), call, draw, out));
    return out;
  }
};

Graph graph(std::string_view nodes) {
  auto g = Graph::parse(obj(fmt::format(R"({{"nodes":{}}})", nodes)));
  EXPECT_TRUE(g) << (g ? "" : g.error().message);
  return g ? *g : Graph{};
}

TEST(InferenceGraph, SequencePassesAnswersOnAndStopsAtConditionsAndHardFailures) {
  Services s;
  s.answers = {{"a", {200, R"({"predictions":[1]})"}}, {"b", {200, R"({"done":true})"}}, {"bad", {503, "{}"}}};
  auto sequence = [](std::string_view steps) {
    return graph(fmt::format(R"j({{"root":{{"routerType":"Sequence","steps":[{}]}}}})j", steps));
  };
  auto r = s.run(sequence(R"({"serviceUrl":"a"},{"serviceUrl":"b","data":"$response"})"), "{}");
  EXPECT_EQ(r.body, R"({"done":true})");
  EXPECT_EQ(s.calls.back(), R"(b<{"predictions":[1]})");
  r = s.run(sequence(R"j({"serviceUrl":"a"},{"serviceUrl":"b","condition":"[@this].#(predictions.0==2)"})j"), "{}");
  EXPECT_EQ(r.body, R"({"predictions":[1]})");
  r = s.run(sequence(R"({"serviceUrl":"bad","dependency":"Hard"},{"serviceUrl":"b"})"), "{}");
  EXPECT_EQ(r.status, 503);
  r = s.run(sequence(R"({"serviceUrl":"gone"})"), "{}");
  EXPECT_EQ(r.status, 500);
  r = s.run(sequence(R"({"serviceUrl":"a"},{"serviceUrl":"b","data":"$response","mapPredictionsToInstances":true})"),
            "{}");
  EXPECT_EQ(s.calls.back(), R"(b<{"instances":[1]})");
}

TEST(InferenceGraph, SplitterSwitchAndEnsemble) {
  Services s;
  s.answers = {{"a", {200, R"("a")"}}, {"b", {200, R"("b")"}}, {"bad", {500, R"("x")"}}};
  auto split = graph(
      R"({"root":{"routerType":"Splitter","steps":[{"serviceUrl":"a","weight":20},{"serviceUrl":"b","weight":80}]}})");
  EXPECT_EQ(s.run(split, "{}", 19).body, R"("a")");
  EXPECT_EQ(s.run(split, "{}", 20).body, R"("b")");
  auto choice = graph(R"j({"root":{"routerType":"Switch","steps":[{"serviceUrl":"a","condition":"[@this].#(k==1)"},
    {"nodeName":"other","condition":"k"}]},"other":{"routerType":"Sequence","steps":[{"serviceUrl":"b"}]}})j");
  EXPECT_EQ(s.run(choice, R"({"k":1})").body, R"("a")");
  EXPECT_EQ(s.run(choice, R"({"k":2})").body, R"("b")");
  EXPECT_EQ(s.run(choice, R"({})").status, 404);
  EXPECT_EQ(s.run(choice, "no json").status, 400);
  auto all = graph(R"({"root":{"routerType":"Ensemble","steps":[
    {"name":"one","serviceUrl":"a"},{"serviceUrl":"b"},{"serviceUrl":"bad"}]}})");
  EXPECT_EQ(s.run(all, "{}").body, R"({"one":"a","1":"b","2":"x"})");
  auto hard = graph(R"({"root":{"routerType":"Ensemble","steps":[
    {"serviceUrl":"a"},{"serviceUrl":"bad","dependency":"Hard"}]}})");
  EXPECT_EQ(s.run(hard, "{}").status, 500);
}

TEST(InferenceGraph, RefusesGraphsThatCannotRun) {
  auto why = [](std::string_view nodes) {
    auto g = Graph::parse(obj(fmt::format(R"({{"nodes":{}}})", nodes)));
    return g ? std::string() : g.error().message;
  };
  EXPECT_NE(why("{}").find("root"), std::string::npos);
  EXPECT_NE(why(R"({"root":{"routerType":"Loop","steps":[{"serviceUrl":"a"}]}})").find("unknown routerType"),
            std::string::npos);
  EXPECT_NE(why(R"({"root":{"routerType":"Splitter","steps":[{"serviceUrl":"a","weight":20}]}})").find("100"),
            std::string::npos);
  EXPECT_NE(why(R"({"root":{"routerType":"Sequence","steps":[{"nodeName":"x"}]}})").find("does not exist"),
            std::string::npos);
  EXPECT_NE(why(R"({"root":{"routerType":"Sequence","steps":[{"nodeName":"root"}]}})").find("back to itself"),
            std::string::npos);
  EXPECT_NE(why(R"({"root":{"routerType":"Sequence","steps":[{}]}})").find("needs one of"), std::string::npos);
  EXPECT_NE(why(R"({"root":{"routerType":"Switch","steps":[{"serviceUrl":"a","condition":"@json"}]}})")
                .find("not understood"),
            std::string::npos);
}

TEST(InferenceGraph, ServiceNamesBecomeTheirPredictEndpoints) {
  auto isvc = std::make_shared<const Object>(obj(R"({"metadata":{"name":"m","namespace":"ns"},
    "spec":{"predictor":{"sklearn":{"storageUri":"x"}}},
    "status":{"address":{"url":"http://m.ns.svc.cluster.local"},"conditions":[{"type":"Ready","status":"True"}]}})"));
  auto spec = obj(R"({"nodes":{"root":{"routerType":"Sequence","steps":[{"serviceName":"m"}]}}})");
  auto r = resolve_services(spec, [&](const std::string&) { return isvc; });
  ASSERT_TRUE(r);
  EXPECT_EQ(kube::text_at(*r, "nodes.root.steps.0.serviceUrl"), "http://m.ns.svc.cluster.local/v1/models/m:predict");
  EXPECT_FALSE(resolve_services(spec, [](const std::string&) { return kube::ObjectPtr(); }));
}

TEST(TrainedModel, SaysWhatIsInTheWay) {
  auto model = obj(R"({"metadata":{"name":"t"},"spec":{"inferenceService":"m","model":{"framework":"sklearn"}}})");
  auto s = trained_model_status(model, nullptr, false);
  EXPECT_EQ(kube::array_at(s, "conditions").size(), 5U);
  for (const auto& c : kube::array_at(s, "conditions"))
    if (kube::text_at(c.get_object(), "type") == "IsMMSPredictor") {
      EXPECT_EQ(kube::text_at(c.get_object(), "status"), "False");
    }
}

}  // namespace
}  // namespace mr::serving
