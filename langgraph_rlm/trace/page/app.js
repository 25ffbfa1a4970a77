document.getElementById("app").textContent = JSON.parse(document.getElementById("boot").textContent).traces[0].records.length + " records";
