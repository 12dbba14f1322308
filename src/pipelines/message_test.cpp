#include "pipelines/message.h"

#include <gtest/gtest.h>

#include "json/parse.h"
#include "pipelines/messages.h"

namespace mr::pipelines {
namespace {

std::string refused(std::string_view body, const MessageType& type = wire::kRun) {
  auto m = read_message(body, type);
  EXPECT_FALSE(m) << body;
  if (m) return {};
  EXPECT_EQ(m.error().code, Code::invalid_argument);
  return m.error().message;
}

TEST(PipelineMessage, readsBothSpellings) {
  auto m = read_message(R"({"displayName": "a", "experiment_id": "e", "createdAt": "2026-11-25T12:30:49.5+01:00",
                            "storageState": 2, "runtimeConfig": {"parameters": {"x": [1, null]}}})",
                        wire::kRun);
  ASSERT_TRUE(m) << m.error().message;
  EXPECT_EQ(text_of(*m, "display_name"), "a");
  EXPECT_EQ(text_of(*m, "storage_state"), "ARCHIVED");
  EXPECT_EQ(integer_of(*m, "created_at"), 1795606249500);
  EXPECT_EQ(document_of(*message_of(*m, "runtime_config"), "parameters").at("x").as_array().size(), 2U);
  EXPECT_TRUE(read_message("", wire::kRun)->empty());
  EXPECT_TRUE(read_message("{\"display_name\": null}", wire::kRun)->empty());
}

TEST(PipelineMessage, refusesWhatIsNotDescribed) {
  EXPECT_EQ(refused(R"({"display_name": "a", "colour": "red"})"), "proto: (line 1:23): unknown field \"colour\"");
  EXPECT_EQ(refused("{\n  \"runtime_config\": {\"size\": 1}}"), "proto: (line 2:22): unknown field \"size\"");
  EXPECT_EQ(refused(R"({"display_name": 3})"), "proto: (line 1:2): invalid value for string field displayName: 3");
  EXPECT_NE(refused(R"({"display_name": "a", "displayName": "b"})").find("duplicate field"), std::string::npos);
  EXPECT_NE(refused(R"({"state": "HAPPY"})").find("invalid value for enum field state"), std::string::npos);
  EXPECT_NE(refused(R"({"created_at": "noon"})").find("google.protobuf.Timestamp"), std::string::npos);
  EXPECT_NE(refused(R"({"pipeline_spec": {}, "pipeline_version_reference": {}})").find("pipeline_source"),
            std::string::npos);
  EXPECT_NE(refused(R"({"pipeline_spec": []})").find("unexpected token"), std::string::npos);
  for (const char* bad : {"[]", "3", "{", "{\"a\":", "nonsense"}) refused(bad);
}

TEST(PipelineMessage, integersMayBeTexts) {
  for (const char* body : {R"({"max_concurrency": "7"})", R"({"maxConcurrency": 7})", R"({"max_concurrency": 7.0})"})
    EXPECT_EQ(integer_of(read_message(body, wire::kRecurringRun).value(), "max_concurrency"), 7) << body;
  refused(R"({"max_concurrency": 7.5})", wire::kRecurringRun);
  refused(R"({"max_concurrency": "many"})", wire::kRecurringRun);
}

TEST(PipelineMessage, writesAsTheRealServerDoes) {
  Object m{{"run_id", "r"},
           {"display_name", ""},
           {"finished_at", 0},
           {"created_at", 1795606249999},
           {"state", "RUNTIME_STATE_UNSPECIFIED"},
           {"storage_state", "AVAILABLE"},
           {"state_history", Array{Object{{"update_time", 1000}, {"state", "PENDING"}}}},
           {"plugins_input", Object{}}};
  EXPECT_EQ(write_message(wire::kRun, m),
            R"({"run_id":"r","storage_state":"AVAILABLE","created_at":"2026-11-25T11:30:49Z",)"
            R"("finished_at":"1970-01-01T00:00:00Z","state_history":[{"update_time":"1970-01-01T00:00:01Z",)"
            R"("state":"PENDING"}]})");
  Object r{{"max_concurrency", 3}, {"no_catchup", false}, {"trigger", Object{}}};
  EXPECT_EQ(write_message(wire::kRecurringRun, r), R"({"max_concurrency":"3","trigger":{}})");
}

}  // namespace
}  // namespace mr::pipelines
