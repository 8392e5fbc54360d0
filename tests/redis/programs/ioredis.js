// What a program of Node would do with the daemon; prints JSON.
"use strict";
const Redis = require("ioredis");

async function main() {
  const db = new Redis(process.argv[2]);
  const told = {};
  told.set = await db.set("js:1", "value", "EX", 100);
  told.get = await db.get("js:1");
  told.missing = await db.get("js:none");
  told.buffer = (await db.getBuffer("js:1")).toString("hex");
  told.ttl = await db.ttl("js:1");
  told.incr = await Promise.all([db.incr("js:n"), db.incr("js:n"), db.incrby("js:n", 40)]);
  told.float = await db.incrbyfloat("js:f", 0.1);
  told.mset = await db.mset(Object.fromEntries([...Array(500).keys()].map((n) => [`js:many:${n}`, n])));
  told.mget = await db.mget("js:many:0", "js:many:499", "js:none");
  const seen = [];
  for await (const keys of db.scanStream({ match: "js:many:*", count: 50 })) seen.push(...keys);
  told.scanned = new Set(seen).size;
  told.pipeline = await db.pipeline().set("js:2", "a").append("js:2", "b").get("js:2").exec();
  try {
    await db.incr("js:1");
  } catch (error) {
    told.error = error.message;
  }
  try {
    await db.lpush("js:list", 1);
  } catch (error) {
    told.unknown = error.message.split(",")[0];
  }
  told.del = await db.del("js:1", "js:2", "js:none");
  console.log(JSON.stringify(told));
  await db.quit();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
