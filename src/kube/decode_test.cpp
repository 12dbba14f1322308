#include <gtest/gtest.h>

#include "json/parse.h"
#include "kube/wire.h"
#include "text/text.h"

namespace mr::kube {
namespace {

std::string refused(std::string_view body, bool yaml = false) {
  std::vector<std::string> duplicates;
  const auto o = decode_text(body, yaml, duplicates);
  return o ? std::string() : o.error().message;
}
std::string as_json(std::string_view yaml) {
  std::vector<std::string> duplicates;
  const auto o = decode_text(yaml, true, duplicates);
  return o ? json::serialize(*o) : o.error().message;
}

TEST(DecodeText, FaultsInTheRealServersWords) {
  constexpr std::string_view start = "couldn't get version/kind; json parse error: ";
  EXPECT_EQ(refused(""), std::string(start) + "unexpected end of JSON input (<empty>)");
  EXPECT_EQ(refused("{"), std::string(start) + "unexpected end of JSON input ({)");
  EXPECT_EQ(
      refused("[]"),
      std::string(start) +
          R"(json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b5d))");
  EXPECT_NE(refused(R"({"a":1,})").find("invalid character '}' looking for beginning of object key string"),
            std::string::npos);
  EXPECT_NE(refused(R"({"a":[1,]})").find("invalid character ']' looking for beginning of value"), std::string::npos);
  EXPECT_NE(refused(R"({"a":tru})").find("invalid character '}' in literal true (expecting 'e')"), std::string::npos);
  EXPECT_NE(refused(R"({"a":NaN})").find("invalid character 'N' looking for beginning of value"), std::string::npos);
  EXPECT_NE(refused(R"({} x)").find("after top-level value"), std::string::npos);
  EXPECT_NE(refused(R"({"a" 1})").find("invalid character '1' after object key"), std::string::npos);
  EXPECT_NE(refused(R"({"apiVersion":1})").find("Go struct field .apiVersion of type string"), std::string::npos);
  EXPECT_NE(refused("a\xff: 1\na\xfe: 2\n", true).find("yaml: invalid leading UTF-8 octet"), std::string::npos);
  EXPECT_NE(refused("a: [\n", true).find("yaml: line 1: did not find expected node content (613a205b0a)"),
            std::string::npos);
  EXPECT_NE(refused(std::string(100'000, '[')).find("exceeded max depth"), std::string::npos);
}

TEST(DecodeText, FindsDuplicates) {
  std::vector<std::string> duplicates;
  const auto o = decode_text(R"({"metadata":{"name":"a","name":"b"},"l":[{},{"x":{"y":1,"y":2,"y":3}}],"ok":[1,2]})",
                             false, duplicates);
  ASSERT_TRUE(o);
  EXPECT_EQ(text_at(*o, "metadata.name"), "b");
  EXPECT_EQ(duplicates,
            (std::vector<std::string>{R"(duplicate field "metadata.name")", R"(duplicate field "l[1].x.y")"}));
  duplicates.clear();
  ASSERT_TRUE(decode_text("data:\n  x: '1'\n  x: '2'\n", true, duplicates));
  EXPECT_EQ(duplicates, std::vector<std::string>{"yaml: unmarshal errors:\n  line 3: key \"x\" already set in map"});
}

TEST(DecodeText, FindsDuplicatesInALargeObject) {
  std::string body = "{";
  for (int i = 0; i < 500; ++i) body += fmt::format("\"k{}\":{},", i, i);
  body += "\"k7\":0}";
  std::vector<std::string> duplicates;
  ASSERT_TRUE(decode_text(body, false, duplicates));
  EXPECT_EQ(duplicates, std::vector<std::string>{R"(duplicate field "k7")"});
}

TEST(DecodeText, YamlAsTheRealReaderSeesIt) {
  EXPECT_EQ(as_json("a: 1\nb: yes\nc: ~\nd: '1'\ne: 1.5\nf: 0644\ng: 0x10\nh: 1_000\ni: 2026-01-01\nj: .5\nk: 1e3\n"),
            R"({"a":1,"b":true,"c":null,"d":"1","e":1.5,"f":420,"g":16,"h":1000,"i":"2026-01-01","j":0.5,"k":1000})");
  EXPECT_EQ(as_json("base: &b {x: 1, z: 2}\nd:\n  <<: *b\n  z: 3\n"), R"({"base":{"x":1,"z":2},"d":{"z":3,"x":1}})");
  EXPECT_EQ(as_json("1: a\ntrue: b\n"), R"({"1":"a","true":"b"})");
  EXPECT_EQ(as_json("a: |\n  x\n  y\n"), R"({"a":"x\ny\n"})");
}

TEST(DecodeText, AnchorsCannotBlowUp) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i)
    bomb += fmt::format("a{}: &a{} [*a{},*a{},*a{},*a{},*a{},*a{},*a{},*a{},*a{}]\n", i, i, i - 1, i - 1, i - 1, i - 1,
                        i - 1, i - 1, i - 1, i - 1, i - 1);
  EXPECT_NE(refused(bomb, true).find("excessive aliasing"), std::string::npos);
}

std::string type_fault(std::string_view type, std::string_view body) {
  std::vector<std::string> unknown;
  const auto v = json::parse(body);
  const auto fault = check_types(*builtin_type(type), v->as_object(), unknown);
  std::string out = fault.value_or("");
  for (const auto& u : unknown) out += (out.empty() ? "" : ", ") + u;
  return out;
}

TEST(CheckTypes, SpeaksAsGoDoes) {
  constexpr std::string_view pod = "io.k8s.api.core.v1.Pod", deployment = "io.k8s.api.apps.v1.Deployment";
  EXPECT_EQ(
      type_fault(pod, R"({"kind":"Pod","metadata":{"name":"p","labels":null},"spec":{"containers":[{"name":"c"}]}})"),
      "");
  EXPECT_EQ(type_fault(deployment, R"({"spec":{"replicas":"3"}})"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(type_fault(deployment, R"({"spec":{"replicas":1.5}})"),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32");
  EXPECT_EQ(type_fault(pod, R"({"spec":{"containers":[{"env":[{"value":5}]}]}})"),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string");
  EXPECT_EQ(type_fault(pod, R"({"spec":{"containers":{}}})"),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container");
  EXPECT_EQ(type_fault(pod, R"({"metadata":[]})"),
            "json: cannot unmarshal array into Go struct field Pod.metadata of type v1.ObjectMeta");
  EXPECT_EQ(type_fault(pod, R"({"metadata":{"creationTimestamp":"yesterday"}})"),
            R"(parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006")");
  EXPECT_EQ(type_fault("io.k8s.api.core.v1.Secret", R"({"data":{"a":"not base64!"}})"),
            "illegal base64 data at input byte 3");
  EXPECT_EQ(type_fault(pod, R"({"spec":{"restartPolicy":1}})"),
            "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy");
  EXPECT_EQ(type_fault(pod, R"({"Spec":{},"spec":{"containers":[{"bar":1,"env":[{"valeu":"x"}]}],"foo":1}})"),
            "unknown field \"Spec\", unknown field \"spec.containers[0].bar\", unknown field "
            "\"spec.containers[0].env[0].valeu\", unknown field \"spec.foo\"");
}

TEST(CheckTypes, Quantities) {
  auto fault = [](std::string_view q) {
    return type_fault("io.k8s.api.core.v1.Container", fmt::format(R"({{"resources":{{"limits":{{"cpu":{}}}}}}})", q));
  };
  for (const auto* good : {"1", "1.5", "\"500m\"", "\"1Gi\"", "\"1e3\"", "\"-1\"", "\".5\"", "\"1E\"", "\"2E-1\""})
    EXPECT_EQ(fault(good), "") << good;
  for (const auto* bad : {"\"lots\"", "\"1Q\"", "true", "\"\"", "\"1 Gi\"", "\"1..2\""})
    EXPECT_NE(fault(bad).find("quantities must match"), std::string::npos) << bad;
  EXPECT_EQ(fault("\"1Kim\""), "unable to parse quantity's suffix");
}

// --- protobuf: messages written by hand, field by field ---
std::string varint(std::uint64_t v) {
  std::string out;
  for (; v >= 0x80; v >>= 7) out += static_cast<char>(v | 0x80);
  return out + static_cast<char>(v);
}
std::string field(unsigned number, std::string_view bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}
std::string field(unsigned number, std::uint64_t v) { return varint(number << 3) + varint(v); }
std::string envelope(std::string_view api_version, std::string_view kind, std::string_view raw) {
  return std::string("k8s\0", 4) + field(1, field(1, api_version) + field(2, kind)) + field(2, raw);
}
std::string decoded(std::string_view body) {
  const auto o = decode_protobuf(body);
  return o ? json::serialize(*o) : o.error().message;
}

TEST(Protobuf, ASecretAsHelmSendsIt) {
  const auto meta = field(1, "sh.helm.release.v1.m.v1") + field(2, "") + field(3, "ns") + field(4, "") + field(5, "") +
                    field(7, std::uint64_t{0}) + field(8, "") + field(11, field(1, "owner") + field(2, "helm"));
  const auto secret =
      field(1, meta) + field(2, field(1, "release") + field(2, "H4s\x01")) + field(3, "helm.sh/release.v1");
  EXPECT_EQ(decoded(envelope("v1", "Secret", secret)),
            R"({"kind":"Secret","apiVersion":"v1","metadata":{"name":"sh.helm.release.v1.m.v1","namespace":"ns",)"
            R"("labels":{"owner":"helm"}},"data":{"release":"SDRzAQ=="},"type":"helm.sh/release.v1"})");
}

TEST(Protobuf, PointersKeepTheirZeros) {
  const auto container =
      field(1, "c") + field(2, "i") + field(9, field(1, "v") + field(2, std::uint64_t{0}) + field(3, "/m"));
  const auto volume = field(1, "v") + field(2, field(2, ""));  // an empty emptyDir, in a message of its own
  const auto pod = field(1, volume) + field(2, container) + field(10, "");
  const auto spec =
      field(1, std::uint64_t{0}) + field(3, field(2, pod)) + field(5, std::uint64_t{0}) + field(7, std::uint64_t{0});
  EXPECT_EQ(
      decoded(envelope("apps/v1", "Deployment", field(2, spec))),
      R"({"kind":"Deployment","apiVersion":"apps/v1","spec":{"replicas":0,"template":{"spec":{"volumes":[{"name":"v",)"
      R"("emptyDir":{}}],"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"v","mountPath":"/m"}]}]}}}})");
}

TEST(Protobuf, SmallMessagesWithTheirJsonForms) {
  const auto port = field(3, std::uint64_t{80}) + field(4, field(1, std::uint64_t{1}) + field(3, "http"));
  const auto other = field(3, std::uint64_t{81}) + field(4, field(1, std::uint64_t{0}) + field(2, std::uint64_t{8080}));
  EXPECT_EQ(
      decoded(envelope("v1", "Service", field(2, field(1, port) + field(1, other)))),
      R"({"kind":"Service","apiVersion":"v1","spec":{"ports":[{"port":80,"targetPort":"http"},{"port":81,"targetPort":8080}]}})");
  const auto quota = field(2, field(1, field(1, "cpu") + field(2, field(1, "500m"))));
  EXPECT_EQ(decoded(envelope("v1", "ResourceQuota", quota)),
            R"({"kind":"ResourceQuota","apiVersion":"v1","spec":{"hard":{"cpu":"500m"}}})");
  const auto meta = field(8, field(1, std::uint64_t{1767225600}));
  EXPECT_EQ(decoded(envelope("v1", "Namespace", field(1, meta))),
            R"({"kind":"Namespace","apiVersion":"v1","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"}})");
}

TEST(Protobuf, RefusesWhatIsCutOff) {
  const auto whole = envelope("v1", "Secret", field(1, field(1, "name")));
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const auto o = decode_protobuf(std::string_view(whole).substr(0, i));
    if (o) EXPECT_FALSE(at(*o, "metadata.name")) << i;  // the envelope may end between its fields
  }
  EXPECT_FALSE(decode_protobuf("{}"));
  EXPECT_FALSE(decode_protobuf(envelope("v1", "Nonsense", "")));
  EXPECT_FALSE(decode_protobuf(envelope("v1", "Secret", std::string(3, '\xff'))));
  EXPECT_FALSE(decode_protobuf(envelope("v1", "Secret", field(1, std::uint64_t{5}))));
  EXPECT_FALSE(decode_protobuf(envelope("v1", "Secret", field(3, "\xff\xfe"))));
  EXPECT_FALSE(decode_protobuf(envelope("v1", "Pod", std::string(100'000, '\n'))));
}

}  // namespace
}  // namespace mr::kube
