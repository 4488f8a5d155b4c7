// Drives every method of @azure/digital-twins-core, as it is published, against a Gemel over https.
//
//   npm install --no-package-lock && GEMEL_URL=https://localhost:8080 GEMEL_KEY=... NODE_EXTRA_CA_CERTS=.../tls.crt \
//     node drive.mjs
//
// Prints the methods that it drove, one a line, and ends with status 1 where one is missing or answers wrongly.
import assert from "node:assert/strict";
import client_ from "@azure/digital-twins-core";

const { DigitalTwinsClient } = client_;
const key = process.env.GEMEL_KEY;
const credential = { getToken: async () => ({ token: key, expiresOnTimestamp: Date.now() + 3600_000 }) };
const called = new Set();
const client = new Proxy(new DigitalTwinsClient(process.env.GEMEL_URL, credential), {
  get(target, name) {
    const found = target[name];
    if (typeof found !== "function") return found;
    return (...given) => {
      called.add(name);
      return found.apply(target, given);
    };
  },
});

const run = Date.now();
const context = "dtmi:dtdl:context;2";
const tank = `dtmi:js:Tank${run};1`;
const pump = `dtmi:js:Pump${run};1`;
const spare = `dtmi:js:Spare${run};1`;
const models = [
  {
    "@context": context, "@id": tank, "@type": "Interface",
    contents: [
      { "@type": "Property", name: "volume", schema: "double" },
      { "@type": "Telemetry", name: "level", schema: "double" },
    ],
  },
  {
    "@context": context, "@id": pump, "@type": "Interface", displayName: "Pump",
    contents: [
      { "@type": "Property", name: "label", schema: "string" },
      { "@type": "Telemetry", name: "flow", schema: "double" },
      { "@type": "Component", name: "tank", schema: tank },
      { "@type": "Relationship", name: "feeds", properties: [{ "@type": "Property", name: "length", schema: "double" }] },
    ],
  },
  { "@context": context, "@id": spare, "@type": "Interface" },
];
const ids = [1, 2, 3].map((n) => `js-${run}-${n}`);

async function all(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

async function refused(status, code, attempt) {
  await assert.rejects(attempt, (error) => {
    assert.equal(error.statusCode, status, error.message);
    assert.equal(error.response.headers.get("x-ms-error-code"), code);
    return true;
  });
}

async function driveModels() {
  const made = await client.createModels(models);
  assert.deepEqual(Array.from(made, (each) => each.id), [tank, pump, spare]);
  await refused(409, "ModelIdAlreadyExists", () => client.createModels(models));
  const got = await client.getModel(pump, true);
  assert.deepEqual(got.model, models[1]);
  const needed = await all(client.listModels([pump], true, 1));
  assert.deepEqual(needed.map((each) => each.id).sort(), [pump, tank].sort());
  await client.decomissionModel(spare);
  assert.equal((await client.getModel(spare)).decommissioned, true);
  await client.deleteModel(spare);
  await refused(404, "ModelNotFound", () => client.getModel(spare));
}

async function driveTwins() {
  const body = { $metadata: { $model: pump }, label: "one", tank: { $metadata: {}, volume: 1.5 } };
  for (const id of ids) {
    const made = await client.upsertDigitalTwin(id, JSON.stringify(body));
    assert.equal(made.body.$dtId ?? made.$dtId, id);
  }
  const got = await client.getDigitalTwin(ids[0]);
  assert.equal(got.body.label, "one");
  await client.updateDigitalTwin(ids[0], [{ op: "replace", path: "/label", value: "two" }], { ifMatch: got.etag });
  await refused(412, "PreconditionFailed", () =>
    client.updateDigitalTwin(ids[0], [{ op: "replace", path: "/label", value: "x" }], { ifMatch: got.etag }));
  await refused(412, "PreconditionFailed", () => client.upsertDigitalTwin(ids[0], JSON.stringify(body), { ifNoneMatch: "*" }));
  assert.equal((await client.getComponent(ids[0], "tank")).body.volume, 1.5);
  await client.updateComponent(ids[0], "tank", [{ op: "replace", path: "/volume", value: 2.5 }]);
  assert.equal((await client.getDigitalTwin(ids[0])).body.tank.volume, 2.5);
  await client.publishTelemetry(ids[0], { flow: 3.5 }, "m1");
  // Version 1.1.0 sends its third argument as the message id and its fourth as the body, unlike what it documents.
  await client.publishComponentTelemetry(ids[0], "tank", "m2", { level: 0.5 });
}

async function driveRelationships() {
  for (const id of ["r1", "r2", "r3"]) {
    await client.upsertRelationship(ids[0], id, { $targetId: ids[1], $relationshipName: "feeds", length: 2.0 });
  }
  const link = await client.getRelationship(ids[0], "r1");
  assert.equal(link.body.length, 2.0);
  await client.updateRelationship(ids[0], "r1", [{ op: "replace", path: "/length", value: 3.0 }]);
  assert.equal((await all(client.listRelationships(ids[0]))).length, 3);
  const incoming = await all(client.listIncomingRelationships(ids[1]));
  assert.deepEqual(incoming.map((each) => each.relationshipId).sort(), ["r1", "r2", "r3"]);
  const text = `SELECT * FROM digitaltwins T WHERE IS_OF_MODEL('${pump}')`;
  const rows = await all(client.queryTwins(text, 2));
  assert.deepEqual(rows.map((each) => each.$dtId).sort(), ids);
  await refused(400, "SqlQueryError", () => all(client.queryTwins("foo")));
  for (const id of ["r1", "r2", "r3"]) await client.deleteRelationship(ids[0], id);
  for (const id of ids) await client.deleteDigitalTwin(id);
  await refused(404, "DigitalTwinNotFound", () => client.getDigitalTwin(ids[0]));
}

// The endpoint "hooks" is there: the client offers none, since the original service has them in its control plane.
async function driveRoutes() {
  await client.upsertEventRoute(`js-${run}`, "hooks", "true");
  const route = await client.getEventRoute(`js-${run}`);
  assert.deepEqual([route.id, route.endpointName, route.filter], [`js-${run}`, "hooks", "true"]);
  assert.deepEqual((await all(client.listEventRoutes())).map((each) => each.id), [`js-${run}`]);
  await client.deleteEventRoute(`js-${run}`);
  await refused(404, "EventRouteNotFound", () => client.getEventRoute(`js-${run}`));
}

await driveModels();
await driveTwins();
await driveRelationships();
await driveRoutes();
const offered = Object.getOwnPropertyNames(DigitalTwinsClient.prototype).filter((name) => name !== "constructor");
for (const name of [...called].sort()) console.log(name);
const missing = offered.filter((name) => !called.has(name) && !/(Page|All)$/.test(name));
if (missing.length > 0) {
  console.error(`not driven: ${missing.join(", ")}`);
  process.exitCode = 1;
}
